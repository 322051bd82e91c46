//! The same client for programs without a runtime.
//!
//! Each client owns one thread, started at the first call, on which its work is done; it ends with the last clone. The
//! calls block the calling thread: do not make them inside async code.
mod body;
mod request_builder;
mod resource_client;
mod worker;

pub use body::ResponseBody;
pub use request_builder::RequestBuilder;
pub use resource_client::ResourceClient;

use crate::http::BoundClient;
use crate::{AccessToken, Result, Stage, TokenRequest, transport};
use bytes::Bytes;
use http::{Request, Response};
use keybound_tls::{RequestBody, TransportError};
use std::sync::Arc;
use worker::Worker;

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
    /// The same, and [`ErrorKind::HostUnsupported`](crate::ErrorKind::HostUnsupported) where no thread can be started.
    pub fn acquire_token(&self, request: &TokenRequest) -> Result<AccessToken> {
        let (client, request) = (self.client.clone(), request.clone());
        self.worker.run(Stage::Request, async move {
            client.acquire_token(&request).await
        })
    }

    /// A client for calls of resources with tokens as this request asks for them; it shares the thread of this one. See
    /// [`http::ResourceClient`](crate::http::ResourceClient).
    ///
    /// # Errors
    /// Those of [`ResourceClientBuilder::build`](crate::http::ResourceClientBuilder::build).
    pub fn resource_client(&self, request: TokenRequest) -> Result<ResourceClient> {
        let client = crate::http::ResourceClient::new(&self.client, request)?;
        Ok(ResourceClient::on(client, Arc::clone(&self.worker)))
    }

    /// Calls a resource with this one token and reads the answer to its end, at most `limit` bytes of body. See
    /// [`BoundClient::send`].
    ///
    /// # Errors
    /// The same, and [`ErrorKind::AnswerTooLarge`](crate::ErrorKind::AnswerTooLarge).
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
