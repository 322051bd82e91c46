use super::bearer_tokens::BearerTokens;
use crate::{ConfidentialClient, KeyRequirements};
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use futures_util::future::BoxFuture;
use std::fmt;
use std::sync::Arc;

/// Bearer tokens of an app registration for clients of the Azure SDK, in place of `ClientAssertionCredential` and
/// `WorkloadIdentityCredential` of `azure_identity`. Anyone who has such a token can use it: if the service accepts bound tokens, use
/// [`BoundCalls`](crate::azure::BoundCalls) instead.
#[derive(Clone)]
pub struct ClientAssertionCredential {
    client: ConfidentialClient,
    tokens: BearerTokens,
}

impl ClientAssertionCredential {
    /// A credential with the bearer tokens of this client for assertions that are not bound
    /// ([`bearer`](crate::TokenRequest::bearer)), for any number of SDK clients.
    pub fn new(client: ConfidentialClient) -> Arc<Self> {
        Self::with_requirements(client, None)
    }

    /// A credential with the bearer tokens of this client for assertions that are bound to a key that meets these requirements
    /// ([`bearer_over_mtls`](crate::TokenRequest::bearer_over_mtls)).
    pub fn over_mtls(client: ConfidentialClient, requirements: KeyRequirements) -> Arc<Self> {
        Self::with_requirements(client, Some(requirements))
    }

    fn with_requirements(
        client: ConfidentialClient,
        requirements: Option<KeyRequirements>,
    ) -> Arc<Self> {
        let tokens = BearerTokens::new(client.context(), requirements);
        Arc::new(Self { client, tokens })
    }
}

impl TokenCredential for ClientAssertionCredential {
    /// As [`ManagedIdentityCredential`](crate::azure::ManagedIdentityCredential).
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

impl fmt::Debug for ClientAssertionCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientAssertionCredential")
            .field(&self.client)
            .finish()
    }
}
