use super::worker::Worker;
use super::{ResourceClient, acquire_token};
use crate::{AccessToken, KeyRequirements, Result, TokenRequest};
use std::sync::Arc;

/// Acquires access tokens for an app registration whose credential is an assertion. Cloning is cheap and shares everything. See
/// [`keybound::ConfidentialClient`](crate::ConfidentialClient).
#[derive(Clone, Debug)]
pub struct ConfidentialClient {
    client: crate::ConfidentialClient,
    worker: Arc<Worker>,
}

impl ConfidentialClient {
    /// Wraps a client. Its async clones share the caches.
    pub fn new(client: crate::ConfidentialClient) -> Self {
        Self {
            client,
            worker: Arc::default(),
        }
    }

    /// Acquires a token. See [`acquire_token`](crate::ConfidentialClient::acquire_token). A cached token is returned by the calling
    /// thread, without waiting for the client's thread.
    ///
    /// # Errors
    /// The same, and [`ErrorKind::HostUnsupported`](crate::ErrorKind::HostUnsupported) if no thread can be started.
    pub fn acquire_token(&self, request: &TokenRequest) -> Result<AccessToken> {
        acquire_token(self.client.context(), &self.worker, request)
    }

    /// The token that [`acquire_token`](Self::acquire_token) would return without waiting. See
    /// [`cached_token`](crate::ConfidentialClient::cached_token).
    pub fn cached_token(&self, request: &TokenRequest) -> Option<AccessToken> {
        let context = self.client.context();
        context.cached_token_on(request, || self.worker.handle())
    }

    /// Acquires a token that is bound to the certificate of the assertion. See
    /// [`pop_token`](crate::ConfidentialClient::pop_token).
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

    /// Acquires a bearer token. See [`bearer_token`](crate::ConfidentialClient::bearer_token).
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
}
