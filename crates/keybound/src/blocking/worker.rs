use keybound_core::{Error, ErrorKind, Result, Stage};
use keybound_transport::RuntimeThread;
use std::sync::mpsc;
use tokio::runtime::Handle;

/// Runs futures on the runtime of a thread, which starts with the first one.
#[derive(Debug)]
pub(super) struct Worker(RuntimeThread);

impl Default for Worker {
    fn default() -> Self {
        Self(RuntimeThread::new("keybound"))
    }
}

impl Worker {
    /// Runs a future and waits for its result.
    pub(super) fn run<T: Send + 'static>(
        &self,
        stage: Stage,
        future: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.start(stage, future)?()
    }

    /// The runtime, for tasks that no caller waits for; `None` if no thread can be started.
    pub(super) fn handle(&self) -> Option<Handle> {
        Some(self.0.handle().ok()?.handle().clone())
    }

    /// Starts a future. The returned function waits for its result.
    pub(super) fn start<T: Send + 'static>(
        &self,
        stage: Stage,
        future: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<impl FnOnce() -> Result<T>> {
        let failed = move |message| Error::new(ErrorKind::HostUnsupported, stage, message);
        let runtime = self
            .0
            .handle()
            .map_err(|error| failed("no thread could be started").with_source(error))?;
        let (sender, receiver) = mpsc::sync_channel(1);
        runtime.handle().spawn(async move {
            // The receiver is dropped if its thread panicked.
            let _ = sender.send(future.await);
        });
        Ok(move || {
            receiver
                .recv()
                .unwrap_or_else(|_| Err(failed("the call ended without a result")))
        })
    }
}
