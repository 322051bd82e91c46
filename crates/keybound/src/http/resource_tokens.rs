use crate::acquire::ClientContext;
use crate::{AccessToken, TokenRequest};
use keybound_core::{Claims, Result, lock};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The tokens of one resource client: those that its client caches and refreshes, and temporarily one with
/// claims, which it does not cache.
pub(super) struct ResourceTokens {
    client: Arc<ClientContext>,
    /// The request for cached tokens.
    request: TokenRequest,
    special: Mutex<Option<Special>>,
    /// Whether `special` is set. Most calls read only this, and take no lock.
    is_special: AtomicBool,
}

/// What is used instead of the cached token.
#[derive(Clone)]
enum Special {
    /// The request for the first token, with claims or a forced refresh.
    First(TokenRequest),
    /// A token with claims. It is used until token or certificate are renewed, so that the resource does not challenge every
    /// call.
    Token(AccessToken, Option<Claims>),
}

impl ResourceTokens {
    pub(super) fn new(client: Arc<ClientContext>, mut request: TokenRequest) -> Self {
        let is_special = request.claims.is_some() || request.force_refresh;
        let first = is_special.then(|| Special::First(request.clone()));
        request.claims = None;
        request.force_refresh = false;
        Self {
            client,
            request,
            special: Mutex::new(first),
            is_special: AtomicBool::new(is_special),
        }
    }

    /// The token for the next request.
    pub(super) async fn current(&self, timeout: Duration) -> Result<AccessToken> {
        if !self.is_special.load(Ordering::Acquire) {
            return self.acquire(&self.request, timeout).await;
        }
        match self.special() {
            None => self.acquire(&self.request, timeout).await,
            Some(Special::Token(token, _)) => Ok(token),
            Some(Special::First(request)) => {
                let token = self.acquire(&request, timeout).await?;
                self.set_special(&token, request.claims);
                Ok(token)
            }
        }
    }

    /// A token that meets these claims, other than the rejected one. Calls with the same challenge share it.
    pub(super) async fn for_claims(
        &self,
        claims: Claims,
        rejected: &AccessToken,
        timeout: Duration,
    ) -> Result<AccessToken> {
        if let Some(Special::Token(token, Some(met))) = self.special()
            && met == claims
            && !token.is(rejected)
        {
            return Ok(token);
        }
        if let Some(token) = self.replacement(rejected) {
            return Ok(token);
        }
        let request = self.request.clone().claims(claims.clone());
        let token = self.acquire(&request, timeout).await?;
        self.set_special(&token, Some(claims));
        Ok(token)
    }

    /// The cached token of the host's source, if another call has replaced the rejected one. The source gets no claims: its newest
    /// token meets them, or none does.
    fn replacement(&self, rejected: &AccessToken) -> Option<AccessToken> {
        if self.request.requirements.is_some() || self.client.app.is_some() {
            return None;
        }
        let cached = self.client.cached_token(&self.request)?;
        (!cached.is(rejected)).then_some(cached)
    }

    /// The token for a retry after the binding of this one could not be validated: another one if token or certificate were
    /// renewed in the meantime.
    pub(super) async fn after_binding_failure(
        &self,
        failed: &AccessToken,
        timeout: Duration,
    ) -> Result<AccessToken> {
        self.change(|special| {
            special.take_if(|special| special.is_token(|token| token.is(failed)));
        });
        self.current(timeout).await
    }

    async fn acquire(&self, request: &TokenRequest, timeout: Duration) -> Result<AccessToken> {
        if let Some(token) = self.client.cached_token(request) {
            return Ok(token);
        }
        let timeout = timeout.min(request.timeout);
        let request = request.clone().timeout(timeout);
        self.client.acquire_token(&request).await
    }

    fn special(&self) -> Option<Special> {
        let shared = &self.client;
        self.change(|special| {
            special.take_if(|special| special.is_token(|token| !shared.is_current(token)));
            special.clone()
        })
    }

    fn set_special(&self, token: &AccessToken, claims: Option<Claims>) {
        let token = token.clone();
        self.change(|special| *special = Some(Special::Token(token, claims)));
    }

    fn change<T>(&self, change: impl FnOnce(&mut Option<Special>) -> T) -> T {
        let mut special = lock(&self.special);
        let result = change(&mut special);
        self.is_special.store(special.is_some(), Ordering::Release);
        result
    }
}

impl Special {
    /// Whether it is a token for which the condition is true.
    fn is_token(&self, condition: impl FnOnce(&AccessToken) -> bool) -> bool {
        matches!(self, Self::Token(token, _) if condition(token))
    }
}
