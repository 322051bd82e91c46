//! The runtime of connections: the caller's, or one on a thread of its own where the key is slow and would block the caller's
//! event loop.
use crate::{TransportError, TransportErrorKind};
use keybound_core::lock;
use std::sync::{Arc, Mutex};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The place for the connections of one client.
#[derive(Debug)]
pub(crate) enum Driver {
    Caller,
    Thread(Mutex<Option<Arc<DriverThread>>>),
}

impl Driver {
    pub(crate) fn new(key_is_slow: bool) -> Self {
        if key_is_slow {
            Self::Thread(Mutex::new(None))
        } else {
            Self::Caller
        }
    }

    /// The runtime to work on.
    ///
    /// # Errors
    /// [`InvalidRequest`](TransportErrorKind::InvalidRequest) outside of a tokio runtime; `Connect` where the host
    /// gives no thread.
    pub(crate) fn place(&self) -> Result<Place, TransportError> {
        let caller = Handle::try_current().map_err(|error| {
            TransportError::new(
                TransportErrorKind::InvalidRequest,
                "requests are sent from within a tokio runtime",
            )
            .with_source(error)
        })?;
        let Self::Thread(slot) = self else {
            return Ok(Place {
                handle: caller,
                thread: None,
            });
        };
        let mut slot = lock(slot);
        let thread = match &*slot {
            Some(thread) => Arc::clone(thread),
            None => Arc::clone(slot.insert(Arc::new(DriverThread::start()?))),
        };
        Ok(Place {
            handle: thread.handle.clone(),
            thread: Some(thread),
        })
    }
}

/// A runtime; our own lives as long as this value.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    handle: Handle,
    thread: Option<Arc<DriverThread>>,
}

impl Place {
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Whether work is done elsewhere than in the caller's event loop.
    pub(crate) fn is_apart(&self) -> bool {
        self.thread.is_some()
    }
}

/// A thread with a runtime. Both end when the last hold on it goes.
#[derive(Debug)]
pub(crate) struct DriverThread {
    handle: Handle,
    /// Dropped with the value, which ends the thread.
    _alive: oneshot::Sender<()>,
}

impl DriverThread {
    fn start() -> Result<Self, TransportError> {
        let failed = |error: std::io::Error| {
            TransportError::new(
                TransportErrorKind::Connect,
                "the host gives no thread for connections with a slow key",
            )
            .with_source(error)
        };
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(failed)?;
        let handle = runtime.handle().clone();
        let (alive, ended) = oneshot::channel::<()>();
        std::thread::Builder::new()
            .name("keybound-transport".into())
            .spawn(move || {
                let _ = runtime.block_on(ended);
                // Does not wait for a name lookup in progress.
                runtime.shutdown_background();
            })
            .map_err(failed)?;
        Ok(Self {
            handle,
            _alive: alive,
        })
    }
}
