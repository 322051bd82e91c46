use super::conversions::{single_scope, to_sdk_token};
use crate::{KeyRequirements, ManagedIdentityClient, TokenRequest};
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::{Error, ErrorKind};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use keybound_core::TokenType;
use std::sync::Arc;

/// Bearer tokens for clients of the Azure SDK, in place of the credential of the same name in `azure_identity`. Anyone who has
/// such a token can use it: if the service accepts bound tokens, use [`BoundCalls`](crate::azure::BoundCalls) instead.
#[derive(Clone, Debug)]
pub struct ManagedIdentityCredential {
    client: ManagedIdentityClient,
    /// `None`: from the host's source.
    requirements: Option<KeyRequirements>,
}

impl ManagedIdentityCredential {
    /// A credential with the plain bearer tokens of this client, from the managed identity source of this host
    /// ([`bearer`](TokenRequest::bearer)), for any number of SDK clients.
    pub fn new(client: ManagedIdentityClient) -> Arc<Self> {
        Arc::new(Self {
            client,
            requirements: None,
        })
    }

    /// A credential with the bearer tokens of this client that are acquired over mutual TLS with a key that meets these
    /// requirements ([`bearer_over_mtls`](TokenRequest::bearer_over_mtls)).
    pub fn over_mtls(client: ManagedIdentityClient, requirements: KeyRequirements) -> Arc<Self> {
        Arc::new(Self {
            client,
            requirements: Some(requirements),
        })
    }

    /// The cached token, if the scope is in the normal form of [`Scope`](crate::Scope).
    fn cached_token(&self, scope: &str) -> Option<AccessToken> {
        let shared = self.client.context();
        let key = shared.key_of(scope, TokenType::Bearer, self.requirements);
        shared.peek_fresh(&key, to_sdk_token)
    }

    async fn acquire(&self, scope: &str) -> azure_core::Result<AccessToken> {
        let request = match self.requirements {
            Some(requirements) => TokenRequest::bearer_over_mtls(scope, requirements),
            None => TokenRequest::bearer(scope),
        };
        match self.client.acquire_token(&request).await {
            Ok(token) => Ok(to_sdk_token(token.issued())),
            Err(error) => Err(Error::new(ErrorKind::Credential, error)),
        }
    }
}

impl TokenCredential for ManagedIdentityCredential {
    /// Accepts one scope: a resource with or without `/.default`. Errors are of kind `Credential` and contain the
    /// [`keybound::Error`](crate::Error).
    // Without the attribute of async_trait, so that a cache hit returns a ready future.
    fn get_token<'a, 'scopes, 'scope, 'options, 'future>(
        &'a self,
        scopes: &'scopes [&'scope str],
        _options: Option<TokenRequestOptions<'options>>,
    ) -> BoxFuture<'future, azure_core::Result<AccessToken>>
    where
        'a: 'future,
        'scopes: 'future,
        'scope: 'future,
        'options: 'future,
        Self: 'future,
    {
        let scope = match single_scope(scopes) {
            Ok(scope) => scope,
            Err(error) => return ready(Err(error)).boxed(),
        };
        match self.cached_token(scope) {
            Some(token) => ready(Ok(token)).boxed(),
            None => self.acquire(scope).boxed(),
        }
    }
}
