use super::bearer_tokens::BearerTokens;
use crate::{KeyRequirements, ManagedIdentityClient};
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use futures_util::future::BoxFuture;

/// Bearer tokens for clients of the Azure SDK, acquired over mutual TLS
/// ([`bearer_over_mtls`](crate::TokenRequest::bearer_over_mtls)). Anyone who has such a token can use it: if the service accepts
/// bound tokens, use [`BoundCalls`](crate::azure::BoundCalls) instead.
#[derive(Clone, Debug)]
pub struct BearerCredential(BearerTokens);

impl BearerCredential {
    /// A credential with the tokens of this client, acquired with a key that meets these requirements.
    pub fn new(client: ManagedIdentityClient, requirements: KeyRequirements) -> Self {
        Self(BearerTokens::new(client, Some(requirements)))
    }
}

impl TokenCredential for BearerCredential {
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
        self.0.get(scopes)
    }
}
