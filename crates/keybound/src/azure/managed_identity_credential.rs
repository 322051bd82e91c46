use super::bearer_tokens::BearerTokens;
use crate::ManagedIdentityClient;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// Plain bearer tokens for clients of the Azure SDK, from the managed identity source of this host
/// ([`bearer`](crate::TokenRequest::bearer)): in place of the credential of the same name in `azure_identity`. Anyone who has
/// such a token can use it: if the service accepts bound tokens, use [`BoundCalls`](crate::azure::BoundCalls) instead.
#[derive(Clone, Debug)]
pub struct ManagedIdentityCredential(BearerTokens);

impl ManagedIdentityCredential {
    /// A credential with the tokens of this client, for any number of SDK clients.
    pub fn new(client: ManagedIdentityClient) -> Arc<Self> {
        Arc::new(Self(BearerTokens::new(client, None)))
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
        self.0.get(scopes)
    }
}
