//! Which token a call goes with.
use crate::{AccessToken, ManagedIdentityClient, TokenRequest};
use keybound_core::{Claims, Result, lock};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The tokens of one resource client: the client's own, which it refreshes; and for a while the one that met a challenge, which
/// the client does not cache.
pub(super) struct Tokens {
    client: ManagedIdentityClient,
    /// What the client answers from its cache.
    usual: TokenRequest,
    special: Mutex<Special>,
    /// Whether there is anything special: looked at by every call, most of which so take no lock.
    is_special: AtomicBool,
}

#[derive(Default)]
struct Special {
    /// What the first token is asked for with, where that is something else.
    first: Option<TokenRequest>,
    held: Option<Held>,
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
            special: Mutex::new(Special { first, held: None }),
            is_special: AtomicBool::new(special),
        }
    }

    /// The token for the next request.
    pub(super) async fn current(&self, time: Duration) -> Result<AccessToken> {
        if !self.is_special.load(Ordering::Acquire) {
            return self.acquire(&self.usual, time).await;
        }
        if let Some(held) = self.held() {
            return Ok(held.token);
        }
        let first = self.change(|special| special.first.clone());
        let Some(first) = first else {
            return self.acquire(&self.usual, time).await;
        };
        let token = self.acquire(&first, time).await?;
        self.hold(&token, first.claims);
        Ok(token)
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
        if let Some(token) = self.client.shared().cached_token(request) {
            return Ok(token);
        }
        let time = time.min(request.timeout);
        let request = request.clone().timeout(time);
        self.client.acquire_token(&request).await
    }

    fn held(&self) -> Option<Held> {
        let shared = self.client.shared();
        self.change(|special| {
            special.held.take_if(|held| !shared.is_current(&held.token));
            special.held.clone()
        })
    }

    fn let_go(&self, token: &AccessToken) {
        self.change(|special| {
            special.held.take_if(|held| held.token.is(token));
        });
    }

    fn hold(&self, token: &AccessToken, claims: Option<Claims>) {
        let token = token.clone();
        self.change(|special| {
            special.first = None;
            special.held = Some(Held { token, claims });
        });
    }

    fn change<T>(&self, change: impl FnOnce(&mut Special) -> T) -> T {
        // Each change is a few assignments: a panic leaves what is usable.
        let mut special = lock(&self.special);
        let result = change(&mut special);
        let is_special = special.first.is_some() || special.held.is_some();
        self.is_special.store(is_special, Ordering::Release);
        result
    }
}
