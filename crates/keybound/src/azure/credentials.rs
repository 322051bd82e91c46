use super::bearer_tokens::BearerTokens;
use crate::{ConfidentialClient, KeyRequirements, ManagedIdentityClient};
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use futures_util::future::BoxFuture;
use std::fmt;
use std::sync::Arc;

/// A credential of this name with the bearer tokens of a client, and its documentation.
macro_rules! credential {
    (
        $(#[$documentation:meta])*
        $name:ident($client:ident);
        $(#[$new:meta])*
        new;
        $(#[$over_mtls:meta])*
        over_mtls;
    ) => {
        $(#[$documentation])*
        #[derive(Clone)]
        pub struct $name {
            client: $client,
            tokens: BearerTokens,
        }

        impl $name {
            $(#[$new])*
            pub fn new(client: $client) -> Arc<Self> {
                Self::with_requirements(client, None)
            }

            $(#[$over_mtls])*
            pub fn over_mtls(client: $client, requirements: KeyRequirements) -> Arc<Self> {
                Self::with_requirements(client, Some(requirements))
            }

            fn with_requirements(
                client: $client,
                requirements: Option<KeyRequirements>,
            ) -> Arc<Self> {
                let tokens = BearerTokens::new(client.context(), requirements);
                Arc::new(Self { client, tokens })
            }
        }

        impl TokenCredential for $name {
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

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.client).finish()
            }
        }
    };
}

credential! {
    /// Bearer tokens for clients of the Azure SDK, in place of the credential of the same name in `azure_identity`. Anyone who has
    /// such a token can use it: if the service accepts bound tokens, use [`BoundCalls`](crate::azure::BoundCalls) instead.
    ManagedIdentityCredential(ManagedIdentityClient);
    /// A credential with the plain bearer tokens of this client, from the managed identity source of this host
    /// ([`bearer`](crate::TokenRequest::bearer)), for any number of SDK clients.
    new;
    /// A credential with the bearer tokens of this client that are acquired over mutual TLS with a key that meets these
    /// requirements ([`bearer_over_mtls`](crate::TokenRequest::bearer_over_mtls)).
    over_mtls;
}

credential! {
    /// Bearer tokens of an app registration for clients of the Azure SDK, in place of `ClientAssertionCredential` and
    /// `WorkloadIdentityCredential` of `azure_identity`. Anyone who has such a token can use it: if the service accepts bound tokens,
    /// use [`BoundCalls`](crate::azure::BoundCalls) instead.
    ClientAssertionCredential(ConfidentialClient);
    /// A credential with the bearer tokens of this client for assertions that are not bound
    /// ([`bearer`](crate::TokenRequest::bearer)), for any number of SDK clients.
    new;
    /// A credential with the bearer tokens of this client for assertions that are bound to a key that meets these requirements
    /// ([`bearer_over_mtls`](crate::TokenRequest::bearer_over_mtls)).
    over_mtls;
}
