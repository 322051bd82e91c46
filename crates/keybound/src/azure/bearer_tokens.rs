use super::conversions::{single_scope, to_sdk_token};
use crate::acquire::ClientContext;
use crate::{KeyRequirements, TokenRequest};
use azure_core::credentials::AccessToken;
use azure_core::error::{Error, ErrorKind};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use keybound_core::TokenType;
use std::sync::Arc;

/// The bearer tokens of a credential.
#[derive(Clone)]
pub(super) struct BearerTokens {
    client: Arc<ClientContext>,
    /// `None`: without a certificate.
    requirements: Option<KeyRequirements>,
}

impl BearerTokens {
    pub(super) fn new(client: &Arc<ClientContext>, requirements: Option<KeyRequirements>) -> Self {
        Self {
            client: Arc::clone(client),
            requirements,
        }
    }

    /// A token for one scope: a ready future for a cache hit.
    pub(super) fn get<'future>(
        &'future self,
        scopes: &[&'future str],
    ) -> BoxFuture<'future, azure_core::Result<AccessToken>> {
        let scope = match single_scope(scopes) {
            Ok(scope) => scope,
            Err(error) => return ready(Err(error)).boxed(),
        };
        match self.cached(scope) {
            Some(token) => ready(Ok(token)).boxed(),
            None => self.acquire(scope).boxed(),
        }
    }

    /// The cached token, if the scope is in the normal form of [`Scope`](crate::Scope).
    fn cached(&self, scope: &str) -> Option<AccessToken> {
        let client = &self.client;
        let key = client.key_of(scope, TokenType::Bearer, self.requirements);
        client.peek_fresh(&key, to_sdk_token)
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
