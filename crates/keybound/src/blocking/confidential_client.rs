use super::token_methods;
use super::worker::Worker;
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

    token_methods!();
}
