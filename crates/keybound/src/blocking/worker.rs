use keybound_core::{Error, ErrorKind, Result, Stage};
use keybound_transport::RuntimeThread;
use std::sync::mpsc;

/// Runs work on the runtime of a thread, started when first needed.
#[derive(Debug)]
pub(super) struct Worker(RuntimeThread);

impl Default for Worker {
    fn default() -> Self {
        Self(RuntimeThread::new("keybound"))
    }
}

impl Worker {
    /// Does work and waits for its end.
    pub(super) fn run<T: Send + 'static>(
        &self,
        stage: Stage,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.begin(stage, work)?.wait()
    }

    /// Begins work.
    pub(super) fn begin<T: Send + 'static>(
        &self,
        stage: Stage,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<Begun<T>> {
        let runtime = self.0.handle().map_err(|error| {
            Error::new(
                ErrorKind::HostUnsupported,
                stage,
                "no thread could be started",
            )
            .with_source(error)
        })?;
        let (send, receive) = mpsc::sync_channel(1);
        runtime.handle().spawn(async move {
            // Where the receiver is gone, its thread panicked and nobody wants the result.
            let _ = send.send(work.await);
        });
        Ok(Begun { receive, stage })
    }
}

/// Work under way.
pub(super) struct Begun<T> {
    receive: mpsc::Receiver<Result<T>>,
    stage: Stage,
}

impl<T> Begun<T> {
    /// Waits for its end.
    pub(super) fn wait(self) -> Result<T> {
        self.receive.recv().unwrap_or_else(|_| {
            Err(Error::new(
                ErrorKind::HostUnsupported,
                self.stage,
                "the work ended without a result",
            ))
        })
    }
}
