//! Blocking clients, for programs without an async runtime.
//!
//! Each client has one thread that runs its I/O, from the first call that needs it until its last clone is dropped. Calls block the calling
//! thread: do not use them in async code.
mod confidential_client;
mod request_builder;
mod resource_client;
mod response;
mod response_body;
mod upload;
mod worker;

pub use confidential_client::ConfidentialClient;
pub use request_builder::RequestBuilder;
pub use resource_client::ResourceClient;
pub use response::Response;
pub use response_body::ResponseBody;

use crate::acquire::ClientContext;
use crate::capabilities::Capabilities;
use crate::{AccessToken, KeyRequirements, Result, Stage, TokenRequest};
use http::Request;
use keybound_transport::RequestBody;
use std::sync::Arc;
use std::time::Duration;
use worker::Worker;

/// Acquires access tokens for a managed identity of this host. Cloning is cheap and shares everything. See
/// [`keybound::ManagedIdentityClient`](crate::ManagedIdentityClient).
#[derive(Clone, Debug)]
pub struct ManagedIdentityClient {
    client: crate::ManagedIdentityClient,
    worker: Arc<Worker>,
}

impl ManagedIdentityClient {
    /// Wraps a client. Its async clones share the caches.
    pub fn new(client: crate::ManagedIdentityClient) -> Self {
        Self {
            client,
            worker: Arc::new(Worker::default()),
        }
    }

    /// Acquires a token. See [`acquire_token`](crate::ManagedIdentityClient::acquire_token). A cached token is returned by the
    /// calling thread, without waiting for the client's thread.
    ///
    /// # Errors
    /// The same, and [`ErrorKind::HostUnsupported`](crate::ErrorKind::HostUnsupported) if no thread can be started.
    pub fn acquire_token(&self, request: &TokenRequest) -> Result<AccessToken> {
        acquire_token(self.client.context(), &self.worker, request)
    }

    /// The token that [`acquire_token`](Self::acquire_token) would return without waiting. See
    /// [`cached_token`](crate::ManagedIdentityClient::cached_token). One that is due for a refresh is refreshed in the background,
    /// on the client's thread.
    pub fn cached_token(&self, request: &TokenRequest) -> Option<AccessToken> {
        let context = self.client.context();
        context.cached_token_on(request, || self.worker.handle())
    }

    /// What this host can do. See [`capabilities`](crate::ManagedIdentityClient::capabilities).
    ///
    /// # Errors
    /// [`ErrorKind::HostUnsupported`](crate::ErrorKind::HostUnsupported) if no thread can be started.
    pub fn capabilities(&self) -> Result<Capabilities> {
        self.capabilities_within(Duration::MAX)
    }

    /// The same, waiting no longer than `timeout`. See
    /// [`capabilities_within`](crate::ManagedIdentityClient::capabilities_within).
    ///
    /// # Errors
    /// Those of [`capabilities`](Self::capabilities).
    pub fn capabilities_within(&self, timeout: Duration) -> Result<Capabilities> {
        let client = self.client.clone();
        self.worker.run(Stage::Request, async move {
            Ok(client.capabilities_within(timeout).await)
        })
    }

    /// Acquires a token that is bound to the certificate. See [`pop_token`](crate::ManagedIdentityClient::pop_token).
    ///
    /// # Errors
    /// Those of [`acquire_token`](Self::acquire_token).
    pub fn pop_token(
        &self,
        resource: impl AsRef<str>,
        requirements: KeyRequirements,
    ) -> Result<AccessToken> {
        self.acquire_token(&TokenRequest::pop(resource, requirements))
    }

    /// Acquires a plain bearer token from the host's source. See [`bearer_token`](crate::ManagedIdentityClient::bearer_token).
    ///
    /// # Errors
    /// Those of [`acquire_token`](Self::acquire_token).
    pub fn bearer_token(&self, resource: impl AsRef<str>) -> Result<AccessToken> {
        self.acquire_token(&TokenRequest::bearer(resource))
    }

    /// A client that calls resources with tokens of this request, on the same thread. See
    /// [`http::ResourceClient`](crate::http::ResourceClient).
    ///
    /// # Errors
    /// Those of [`ResourceClientBuilder::build`](crate::http::ResourceClientBuilder::build).
    pub fn resource_client(&self, request: TokenRequest) -> Result<ResourceClient> {
        let client = crate::http::ResourceClient::new(&self.client, request)?;
        Ok(ResourceClient::with_worker(
            client,
            Arc::clone(&self.worker),
        ))
    }

    /// Sends a request to a resource with this token. See [`BoundClient::send`](crate::http::BoundClient::send).
    ///
    /// # Errors
    /// The same.
    pub fn send(&self, token: &AccessToken, request: Request<RequestBody>) -> Result<Response> {
        let (client, token) = (token.bound_client()?, token.clone());
        let response = self.worker.run(Stage::Resource, async move {
            client.send(&token, request).await
        })?;
        Ok(Response::new(response, Arc::clone(&self.worker)))
    }
}

/// Returns the cached token, or acquires one on the thread.
fn acquire_token(
    client: &Arc<ClientContext>,
    worker: &Worker,
    request: &TokenRequest,
) -> Result<AccessToken> {
    if let Some(token) = client.cached_token_on(request, || worker.handle()) {
        return Ok(token);
    }
    let (client, request) = (Arc::clone(client), request.clone());
    worker.run(Stage::Request, async move {
        client.acquire_token(&request).await
    })
}
