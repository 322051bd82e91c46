use crate::acquire::ClientContext;
use crate::{AccessToken, ConfidentialClient, ManagedIdentityClient, Result, TokenRequest};
use std::fmt;
use std::sync::Arc;

/// A client that acquires tokens, of either kind: what calls resources takes a reference to a [`ManagedIdentityClient`] or a
/// [`ConfidentialClient`]. Cloning is cheap and shares everything.
#[derive(Clone)]
pub struct TokenClient(pub(crate) Arc<ClientContext>);

impl TokenClient {
    /// Acquires a token, as the client that it was made of.
    ///
    /// # Errors
    /// Those of that client.
    pub async fn acquire_token(&self, request: &TokenRequest) -> Result<AccessToken> {
        self.0.acquire_token(request).await
    }
}

impl From<&Self> for TokenClient {
    fn from(client: &Self) -> Self {
        client.clone()
    }
}

impl From<&ManagedIdentityClient> for TokenClient {
    fn from(client: &ManagedIdentityClient) -> Self {
        Self(Arc::clone(client.context()))
    }
}

impl From<&ConfidentialClient> for TokenClient {
    fn from(client: &ConfidentialClient) -> Self {
        Self(Arc::clone(client.context()))
    }
}

impl fmt::Debug for TokenClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match &self.0.app {
            None => "ManagedIdentityClient",
            Some(_) => "ConfidentialClient",
        };
        self.0.fmt_as(name, f)
    }
}
