//! The same client for programs without a runtime.
//!
//! Each client owns one thread, started at the first call, on which its work is done; it ends with the last clone. The
//! calls block the calling thread: do not make them inside async code.
use crate::{AccessToken, BoundClient, Error, ErrorKind, Result, Stage, TokenRequest, transport};
use bytes::Bytes;
use http::{Request, Response};
use keybound_tls::{RequestBody, TransportError};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Gets access tokens for a managed identity of this host, blocking the caller. Cloning is cheap and shares everything.
#[derive(Clone, Debug)]
pub struct ManagedIdentityClient {
    client: crate::ManagedIdentityClient,
    worker: Arc<Worker>,
}

impl ManagedIdentityClient {
    /// Wraps a client. Clones of it that are used asynchronously share its caches.
    pub fn new(client: crate::ManagedIdentityClient) -> Self {
        Self {
            client,
            worker: Arc::new(Worker::default()),
        }
    }

    /// Gets a token. See [`acquire_token`](crate::ManagedIdentityClient::acquire_token).
    ///
    /// # Errors
    /// The same, and [`ErrorKind::HostUnsupported`] where no thread can be started.
    pub fn acquire_token(&self, request: TokenRequest) -> Result<AccessToken> {
        let client = self.client.clone();
        self.worker.run(Stage::Request, async move {
            client.acquire_token(request).await
        })
    }

    /// Calls a resource with a token and reads the answer to its end, at most `limit` bytes of body. See
    /// [`BoundClient::send`].
    ///
    /// # Errors
    /// The same, and [`ErrorKind::AnswerTooLarge`].
    pub fn call(
        &self,
        token: &AccessToken,
        request: Request<RequestBody>,
        limit: usize,
    ) -> Result<Response<Bytes>> {
        let client: BoundClient = token.bound_client()?;
        let token = token.clone();
        self.worker.run(Stage::Resource, async move {
            let (head, body) = client.send(&token, request).await?.into_parts();
            let broken = |error: TransportError| transport::transport_error(Stage::Resource, error);
            Ok(Response::from_parts(
                head,
                body.collect(limit).await.map_err(broken)?,
            ))
        })
    }
}

/// A thread with a runtime, started when first needed.
#[derive(Debug, Default)]
struct Worker(Mutex<Option<Running>>);

#[derive(Debug)]
struct Running {
    handle: Handle,
    /// Dropped with the worker: ends the thread.
    _stop: oneshot::Sender<()>,
}

impl Worker {
    fn run<T: Send + 'static>(
        &self,
        stage: Stage,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
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
            // The receiver waits below; where it is gone, its thread panicked and nobody wants the result.
            let _ = send.send(work.await);
        });
        receive.recv().unwrap_or_else(|_| {
            Err(Error::new(
                ErrorKind::HostUnsupported,
                stage,
                "the work ended without a result",
            ))
        })
    }

    fn handle(&self) -> std::io::Result<Handle> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
