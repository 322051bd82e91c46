use super::bearer_tokens::BearerTokens;
use crate::{KeyRequirements, ManagedIdentityClient};
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use futures_util::future::BoxFuture;
use std::fmt;
use std::sync::Arc;

/// Bearer tokens for clients of the Azure SDK, in place of the credential of the same name in `azure_identity`. Anyone who has
/// such a token can use it: if the service accepts bound tokens, use [`BoundCalls`](crate::azure::BoundCalls) instead.
#[derive(Clone)]
pub struct ManagedIdentityCredential {
    client: ManagedIdentityClient,
    tokens: BearerTokens,
}

impl ManagedIdentityCredential {
    /// A credential with the plain bearer tokens of this client, from the managed identity source of this host
    /// ([`bearer`](crate::TokenRequest::bearer)), for any number of SDK clients.
    pub fn new(client: ManagedIdentityClient) -> Arc<Self> {
        Self::with_requirements(client, None)
    }

    /// A credential with the bearer tokens of this client that are acquired over mutual TLS with a key that meets these
    /// requirements ([`bearer_over_mtls`](crate::TokenRequest::bearer_over_mtls)).
    pub fn over_mtls(client: ManagedIdentityClient, requirements: KeyRequirements) -> Arc<Self> {
        Self::with_requirements(client, Some(requirements))
    }

    fn with_requirements(
        client: ManagedIdentityClient,
        requirements: Option<KeyRequirements>,
    ) -> Arc<Self> {
        let tokens = BearerTokens::new(client.context(), requirements);
        Arc::new(Self { client, tokens })
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
        self.tokens.get(scopes)
    }
}

impl fmt::Debug for ManagedIdentityCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ManagedIdentityCredential")
            .field(&self.client)
            .finish()
    }
}
