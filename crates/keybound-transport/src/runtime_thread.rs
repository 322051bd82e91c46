//! The tokio runtimes on which connections and blocking calls run.
use crate::{TransportError, TransportErrorKind};
use keybound_core::lock;
use std::io;
use std::sync::{Arc, Mutex};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// A thread with a tokio runtime, started when first used. It ends when this value and all its [`RuntimeHandle`]s are dropped.
#[derive(Debug)]
pub struct RuntimeThread {
    name: &'static str,
    running: Mutex<Option<RuntimeHandle>>,
}

/// A tokio runtime. If it runs on a [`RuntimeThread`], that thread does not end before this value is dropped.
#[derive(Clone, Debug)]
pub struct RuntimeHandle {
    handle: Handle,
    /// The thread ends when the last clone is dropped; `None` for the caller's runtime.
    thread: Option<Arc<oneshot::Sender<()>>>,
}

impl RuntimeThread {
    /// A thread of this name, not started yet.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            running: Mutex::new(None),
        }
    }

    /// The runtime. The first call starts the thread.
    ///
    /// # Errors
    /// Those of the host, if it starts no thread.
    pub fn handle(&self) -> io::Result<RuntimeHandle> {
        let mut running = lock(&self.running);
        if let Some(runtime) = &*running {
            return Ok(runtime.clone());
        }
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (sender, all_dropped) = oneshot::channel::<()>();
        let handle = RuntimeHandle {
            handle: runtime.handle().clone(),
            thread: Some(Arc::new(sender)),
        };
        std::thread::Builder::new()
            .name(self.name.into())
            .spawn(move || {
                let _ = runtime.block_on(all_dropped);
                // Does not wait for a name lookup in progress.
                runtime.shutdown_background();
            })?;
        Ok(running.insert(handle).clone())
    }
}

impl RuntimeHandle {
    /// The caller's runtime.
    ///
    /// # Errors
    /// [`InvalidRequest`](TransportErrorKind::InvalidRequest) outside of a tokio runtime.
    pub(crate) fn current() -> Result<Self, TransportError> {
        match Handle::try_current() {
            Ok(handle) => Ok(Self {
                handle,
                thread: None,
            }),
            Err(error) => Err(TransportError::new(
                TransportErrorKind::InvalidRequest,
                "requests are sent from within a tokio runtime",
            )
            .with_source(error)),
        }
    }

    /// The runtime's handle.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Whether work runs on another thread than the caller's event loop.
    pub(crate) fn is_on_thread(&self) -> bool {
        self.thread.is_some()
    }
}
