//! Which token a call goes with.
use crate::{AccessToken, ManagedIdentityClient, TokenRequest};
use keybound_core::{Claims, Result};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The tokens of one resource client: the client's own, which it renews; and for a while the one that answered a
/// challenge, which the client does not remember.
pub(super) struct Tokens {
    client: ManagedIdentityClient,
    /// What the client answers from its cache.
    usual: TokenRequest,
    /// What the first token is asked for with, where that is something else.
    first: Mutex<Option<TokenRequest>>,
    held: Mutex<Option<Held>>,
}

/// A token got for a purpose of its own, used by later calls until token or certificate are renewed: so that the resource
/// does not challenge each of them.
#[derive(Clone)]
struct Held {
    token: AccessToken,
    claims: Option<Claims>,
}

impl Tokens {
    pub(super) fn new(client: ManagedIdentityClient, mut request: TokenRequest) -> Self {
        let special = request.claims.is_some() || request.force_refresh;
        let first = special.then(|| request.clone());
        request.claims = None;
        request.force_refresh = false;
        Self {
            client,
            usual: request,
            first: Mutex::new(first),
            held: Mutex::default(),
        }
    }

    /// The token for the next request.
    pub(super) async fn current(&self, time: Duration) -> Result<AccessToken> {
        if let Some(held) = self.held() {
            return Ok(held.token);
        }
        let first = lock(&self.first).clone();
        if let Some(first) = first {
            let token = self.acquire(&first, time).await?;
            self.hold(&token, first.claims);
            *lock(&self.first) = None;
            return Ok(token);
        }
        self.acquire(&self.usual, time).await
    }

    /// The token that meets these claims, after one that did not. Calls that were challenged for the same share it.
    pub(super) async fn meeting(
        &self,
        claims: Claims,
        refused: &AccessToken,
        time: Duration,
    ) -> Result<AccessToken> {
        let held = self.held();
        if let Some(held) = held.filter(|held| held.claims.as_ref() == Some(&claims))
            && !held.token.is(refused)
        {
            return Ok(held.token);
        }
        let request = self.usual.clone().claims(claims.clone());
        let token = self.acquire(&request, time).await?;
        self.hold(&token, Some(claims));
        Ok(token)
    }

    /// The token to try with after the binding of this one could not be validated: the client's own, which is another
    /// one where token or certificate were renewed meanwhile.
    pub(super) async fn after(&self, failed: &AccessToken, time: Duration) -> Result<AccessToken> {
        self.let_go(failed);
        self.current(time).await
    }

    async fn acquire(&self, request: &TokenRequest, time: Duration) -> Result<AccessToken> {
        if let Some(token) = self.client.shared().remembered(request) {
            return Ok(token);
        }
        let time = time.min(request.timeout);
        let request = request.clone().timeout(time);
        self.client.acquire_token(request).await
    }

    fn held(&self) -> Option<Held> {
        let mut held = lock(&self.held);
        let shared = self.client.shared();
        if held
            .as_ref()
            .is_some_and(|held| !shared.may_hold(&held.token))
        {
            *held = None;
        }
        held.clone()
    }

    fn let_go(&self, token: &AccessToken) {
        let mut held = lock(&self.held);
        if held.as_ref().is_some_and(|held| held.token.is(token)) {
            *held = None;
        }
    }

    fn hold(&self, token: &AccessToken, claims: Option<Claims>) {
        *lock(&self.held) = Some(Held {
            token: token.clone(),
            claims,
        });
    }
}

/// Each change is one assignment: a panic elsewhere leaves it whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
