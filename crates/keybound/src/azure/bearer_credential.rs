use crate::access_token::IssuedToken;
use crate::cache::BorrowedTokenKey;
use crate::{KeyRequirements, ManagedIdentityClient, TokenRequest};
use azure_core::credentials::{AccessToken, Secret, TokenCredential, TokenRequestOptions};
use azure_core::error::{Error, ErrorKind};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use keybound_core::TokenType;

/// Bearer tokens for clients of the Azure SDK, acquired over mutual TLS
/// ([`bearer_over_mtls`](TokenRequest::bearer_over_mtls)). Anyone who has such a token can use it: if the service accepts bound
/// tokens, use [`BoundCalls`](crate::azure::BoundCalls) instead.
#[derive(Clone, Debug)]
pub struct BearerCredential {
    client: ManagedIdentityClient,
    requirements: KeyRequirements,
}

impl BearerCredential {
    /// A credential with the tokens of this client, acquired with a key that meets these requirements.
    pub fn new(client: ManagedIdentityClient, requirements: KeyRequirements) -> Self {
        Self {
            client,
            requirements,
        }
    }

    /// The cached token, if the scope is in the normal form of [`Scope`](crate::Scope).
    fn cached_token(&self, scope: &str) -> Option<AccessToken> {
        let shared = &self.client.context();
        let key = BorrowedTokenKey {
            scope,
            token_type: TokenType::Bearer,
            attestation: shared.attestation(self.requirements),
            min_strength: self.requirements.min_strength,
        };
        shared.peek_fresh(&key, access_token)
    }

    async fn acquire(&self, scope: &str) -> azure_core::Result<AccessToken> {
        let request = TokenRequest::bearer_over_mtls(scope, self.requirements);
        match self.client.acquire_token(&request).await {
            Ok(token) => Ok(access_token(token.issued())),
            Err(error) => Err(Error::new(ErrorKind::Credential, error)),
        }
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

/// Returns the scope, or an error if there is not exactly one.
pub(super) fn single_scope<'a>(scopes: &[&'a str]) -> azure_core::Result<&'a str> {
    match scopes {
        &[scope] => Ok(scope),
        _ => Err(Error::with_message(
            ErrorKind::Credential,
            "a token of a managed identity is for exactly one scope",
        )),
    }
}

pub(super) fn access_token(issued: &IssuedToken) -> AccessToken {
    let secret = Secret::new(issued.secret.expose().to_owned());
    AccessToken::new(secret, issued.expires_on_date)
}
