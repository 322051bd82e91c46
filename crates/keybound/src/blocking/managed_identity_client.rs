use super::worker::Worker;
use super::{Response, token_methods};
use crate::capabilities::Capabilities;
use crate::{AccessToken, Result, Stage};
use http::Request;
use keybound_transport::RequestBody;
use std::sync::Arc;
use std::time::Duration;

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

    token_methods!();

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
