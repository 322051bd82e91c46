use crate::access_token::IssuedToken;
use crate::{KeyRequirements, ManagedIdentityClient, TokenRequest};
use azure_core::credentials::{AccessToken, Secret};
use azure_core::error::{Error, ErrorKind};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use keybound_core::TokenType;

/// The bearer tokens of a client in the Azure SDK's type: over mutual TLS with a key that meets the requirements, or from the
/// host's source.
#[derive(Clone, Debug)]
pub(super) struct BearerTokens {
    client: ManagedIdentityClient,
    requirements: Option<KeyRequirements>,
}

impl BearerTokens {
    pub(super) fn new(
        client: ManagedIdentityClient,
        requirements: Option<KeyRequirements>,
    ) -> Self {
        Self {
            client,
            requirements,
        }
    }

    /// The token of one scope.
    pub(super) fn get<'a>(
        &'a self,
        scopes: &[&'a str],
    ) -> BoxFuture<'a, azure_core::Result<AccessToken>> {
        let scope = match single_scope(scopes) {
            Ok(scope) => scope,
            Err(error) => return ready(Err(error)).boxed(),
        };
        match self.cached_token(scope) {
            Some(token) => ready(Ok(token)).boxed(),
            None => self.acquire(scope).boxed(),
        }
    }

    /// The cached token, if the scope is in the normal form of [`Scope`](crate::Scope).
    fn cached_token(&self, scope: &str) -> Option<AccessToken> {
        let shared = self.client.context();
        let key = shared.key_of(scope, TokenType::Bearer, self.requirements);
        shared.peek_fresh(&key, access_token)
    }

    async fn acquire(&self, scope: &str) -> azure_core::Result<AccessToken> {
        let request = match self.requirements {
            Some(requirements) => TokenRequest::bearer_over_mtls(scope, requirements),
            None => TokenRequest::bearer(scope),
        };
        match self.client.acquire_token(&request).await {
            Ok(token) => Ok(access_token(token.issued())),
            Err(error) => Err(Error::new(ErrorKind::Credential, error)),
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
