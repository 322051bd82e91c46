use keybound_core::{Error, ErrorKind, Result, Stage, lock};
use std::sync::{Mutex, mpsc};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// A thread with a runtime, started when first needed.
#[derive(Debug, Default)]
pub(super) struct Worker(Mutex<Option<Running>>);

#[derive(Debug)]
struct Running {
    handle: Handle,
    /// Dropped with the worker: ends the thread.
    _stop: oneshot::Sender<()>,
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
        let handle = self.handle().map_err(|error| {
            Error::new(
                ErrorKind::HostUnsupported,
                stage,
                "no thread could be started",
            )
            .with_source(error)
        })?;
        let (send, receive) = mpsc::sync_channel(1);
        handle.spawn(async move {
            // Where the receiver is gone, its thread panicked and nobody wants the result.
            let _ = send.send(work.await);
        });
        Ok(Begun { receive, stage })
    }

    fn handle(&self) -> std::io::Result<Handle> {
        let mut running = lock(&self.0);
        if let Some(running) = &*running {
            return Ok(running.handle.clone());
        }
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let handle = runtime.handle().clone();
        std::thread::Builder::new()
            .name("keybound".into())
            .spawn(move || {
                // An error says that the sender is gone: the same.
                let _ = runtime.block_on(stopped);
            })?;
        *running = Some(Running {
            handle: handle.clone(),
            _stop: stop,
        });
        Ok(handle)
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
