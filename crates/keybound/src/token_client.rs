use crate::acquire::ClientContext;
use crate::{AccessToken, ConfidentialClient, ManagedIdentityClient, Result, TokenRequest};
use std::fmt;
use std::sync::Arc;

/// The methods that the clients of both kinds have beside `acquire_token`.
macro_rules! token_methods {
    () => {
        /// The token that [`acquire_token`](Self::acquire_token) would return without waiting, from the cache. `None` if it would
        /// wait: no such token is cached, it must be refreshed first, or the request has claims or `force_refresh`.
        ///
        /// A token or certificate that is due for a refresh is refreshed in the background if the caller is within a tokio runtime;
        /// outside of one, nothing is started.
        pub fn cached_token(&self, request: &$crate::TokenRequest) -> Option<$crate::AccessToken> {
            self.context().cached_token(request)
        }

        /// Acquires a token that is bound to the certificate: [`acquire_token`](Self::acquire_token) with
        /// [`TokenRequest::pop`](crate::TokenRequest::pop).
        ///
        /// # Errors
        /// Those of [`acquire_token`](Self::acquire_token).
        pub async fn pop_token(
            &self,
            resource: impl AsRef<str>,
            requirements: $crate::KeyRequirements,
        ) -> $crate::Result<$crate::AccessToken> {
            let request = $crate::TokenRequest::pop(resource, requirements);
            self.acquire_token(&request).await
        }

        /// Acquires a plain bearer token, without a certificate: [`acquire_token`](Self::acquire_token) with
        /// [`TokenRequest::bearer`](crate::TokenRequest::bearer).
        ///
        /// # Errors
        /// Those of [`acquire_token`](Self::acquire_token).
        pub async fn bearer_token(
            &self,
            resource: impl AsRef<str>,
        ) -> $crate::Result<$crate::AccessToken> {
            let request = $crate::TokenRequest::bearer(resource);
            self.acquire_token(&request).await
        }

        /// A builder of a client that calls one resource with bound tokens:
        /// [`ResourceClient::builder`](crate::http::ResourceClient::builder) with [`TokenRequest::pop`](crate::TokenRequest::pop).
        pub fn resource(
            &self,
            resource: impl AsRef<str>,
            requirements: $crate::KeyRequirements,
        ) -> $crate::http::ResourceClientBuilder {
            let request = $crate::TokenRequest::pop(resource, requirements);
            $crate::http::ResourceClient::builder(self, request)
        }
    };
}

pub(crate) use token_methods;

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

    token_methods!();

    pub(crate) fn context(&self) -> &Arc<ClientContext> {
        &self.0
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
