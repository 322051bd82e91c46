//! Token acquisition: the cache lookup, the single flight of equal requests, background refresh, and the token that is returned
//! while a refresh fails.
use super::certificate_service::{await_refresh, renew_certificate};
use super::token_flow::fetch_token;
use super::{ClientContext, Plan, Progress};
#[cfg(feature = "azure")]
use crate::access_token::IssuedToken;
use crate::access_token::{AccessToken, TokenSource};
#[cfg(feature = "azure")]
use crate::cache::BorrowedTokenKey;
use crate::cache::{
    CachedBinding, CachedToken, DualTime, Freshness, Obtained, RefreshAttempts, Refreshable as _,
};
use crate::request::TokenRequest;
use crate::single_flight::Waiter;
use keybound_core::{Error, Result, TokenCacheKey, merge_capabilities};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::timeout;

impl ClientContext {
    /// Passes the cached token to `read`, if it is fresh.
    #[cfg(feature = "azure")]
    pub(crate) fn peek_fresh<T>(
        &self,
        key: &BorrowedTokenKey<'_>,
        read: impl FnOnce(&IssuedToken) -> T,
    ) -> Option<T> {
        let now = self.settings.clocks.coarse_now();
        let found = self.identity.tokens.look_up(key, |token| {
            token.is_fresh(now).then(|| read(&token.issued))
        });
        found.flatten()
    }

    /// Whether a token that is not in the cache is still fresh: neither it nor its certificate, if any, is due for a refresh, and
    /// its certificate is the current one.
    pub(crate) fn is_current(self: &Arc<Self>, token: &AccessToken) -> bool {
        let (token, now) = (token.cached(), self.now());
        let is_current = |binding: &Arc<CachedBinding>| {
            let attestation = binding.binding.attestation();
            let certificates = self.certificates();
            let current =
                certificates.and_then(|client| client.identity.bindings.get(attestation, now));
            let replaced = current.is_some_and(|current| !current.is(binding));
            !replaced && !binding.is_due(now)
        };
        token.freshness(now) == Freshness::Fresh && token.binding.as_ref().is_none_or(is_current)
    }

    /// The cached token, or one from a token flow.
    pub(crate) async fn acquire_token(
        self: &Arc<Self>,
        request: &TokenRequest,
    ) -> Result<AccessToken> {
        match self.cached_token(request) {
            Some(token) => Ok(token),
            None => Box::pin(acquire(Arc::clone(self), request.clone(), None)).await,
        }
    }

    /// The cached token, unless it is stale. One that is due is refreshed in the background, on the caller's runtime.
    pub(crate) fn cached_token(self: &Arc<Self>, request: &TokenRequest) -> Option<AccessToken> {
        self.cached_token_on(request, || None)
    }

    /// The same for callers outside of a runtime: `runtime` returns the one for the refresh, and is called only if one is due.
    pub(crate) fn cached_token_on(
        self: &Arc<Self>,
        request: &TokenRequest,
        runtime: impl FnOnce() -> Option<Handle>,
    ) -> Option<AccessToken> {
        let scope = request.scope.as_ref().ok()?;
        if request.force_refresh || request.claims.is_some() {
            return None;
        }
        let key = self.borrowed_key(request, scope.as_str());
        let now = self.settings.clocks.coarse_now();
        match self
            .identity
            .tokens
            .look_up(&key, |token| CacheLookup::at(token, now))?
        {
            CacheLookup::Fresh(token) => Some(token),
            CacheLookup::Stale(token) => {
                let runtime = runtime();
                let _entered = runtime.as_ref().map(Handle::enter);
                self.refresh_if_due(request, token, now)
            }
        }
    }

    /// Returns a token that may be due, and starts its refresh and the renewal of its certificate.
    fn refresh_if_due(
        self: &Arc<Self>,
        request: &TokenRequest,
        token: Arc<CachedToken>,
        now: DualTime,
    ) -> Option<AccessToken> {
        let key = self.token_key(request).ok()?;
        match token.freshness(now) {
            Freshness::Expired => return None,
            // During the backoff after a failure, a stale token is returned without a request.
            Freshness::Stale if !token.renewal().is_backing_off(now) => return None,
            Freshness::Fresh | Freshness::Stale => {}
            Freshness::RefreshDue => self.refresh_token(&key, &token, now),
        }
        let mut failure = token.renewal().last_failure();
        if let Some(binding) = token.binding.as_ref().filter(|binding| binding.is_due(now)) {
            failure = failure.or_else(|| binding.renewal().last_failure());
            let plan = Plan {
                key,
                forced: false,
                challenged: false,
                claims: None,
            };
            if let Some(certificates) = self.certificates() {
                renew_certificate(certificates, &Arc::new(plan), binding);
            }
        }
        Some(AccessToken::new(token, TokenSource::Cache, failure))
    }

    /// Joins or starts a token flow.
    fn join_token_request(self: &Arc<Self>, plan: &Arc<Plan>) -> Waiter<Result<Obtained>> {
        let key = plan.request_key();
        let (context, plan) = (Arc::clone(self), Arc::clone(plan));
        self.identity.token_requests.join(&key, move |progress| {
            let (context, plan) = (Arc::clone(&context), Arc::clone(&plan));
            Box::pin(fetch_token(context, progress, plan))
        })
    }

    /// Refreshes a token in the background, on the caller's runtime.
    fn refresh_token(
        self: &Arc<Self>,
        key: &TokenCacheKey,
        token: &Arc<CachedToken>,
        now: DualTime,
    ) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let Some(attempt) = RefreshAttempts::begin(token, now) else {
            return;
        };
        let Ok(claims) = merge_capabilities(None, &self.settings.shared.capabilities) else {
            return;
        };
        let plan = Plan {
            key: key.clone(),
            forced: false,
            challenged: false,
            claims: claims.map(Arc::from),
        };
        let waiter = self.join_token_request(&Arc::new(plan));
        let (context, token) = (Arc::clone(self), Arc::clone(token));
        runtime.spawn(async move {
            let _attempt = attempt;
            if let Err(error) = await_refresh(waiter).await {
                tracing::warn!(code = error.kind().code(), stage = %error.stage(), "background token refresh failed; the cached token is still returned");
                token.renewal().failed(context.now(), error, context.chance());
            }
        });
    }
}

/// The result of a cache lookup.
enum CacheLookup {
    Fresh(AccessToken),
    Stale(Arc<CachedToken>),
}

impl CacheLookup {
    /// Runs while the cache's map is borrowed: nothing here blocks.
    #[inline]
    fn at(token: &Arc<CachedToken>, now: DualTime) -> Self {
        // Cloned before the token is read: writing to the count fetches the cache line for writing, once, where other threads
        // write to it too.
        let token = Arc::clone(token);
        if token.is_fresh(now) {
            Self::Fresh(AccessToken::new(token, TokenSource::Cache, None))
        } else {
            Self::Stale(token)
        }
    }
}

/// Fetches a token within the request's timeout. If that fails, returns a cached token that is still valid. The caller's flow, if any,
/// reports the progress.
pub(super) async fn acquire(
    context: Arc<ClientContext>,
    request: TokenRequest,
    flow: Option<&Progress>,
) -> Result<AccessToken> {
    let plan = Arc::new(Plan::new(&context, &request)?);
    let request_timeout = request.timeout.min(MAX_TIMEOUT);
    let wait = request_timeout.min(wait_limit(&context, &plan));
    let mut waiter = context.join_token_request(&plan);
    if let Some(flow) = flow {
        flow.begin_nested(&waiter.progress);
    }
    let mut outcome = timeout(wait, &mut waiter.work).await;
    if outcome.is_err() && wait < request_timeout {
        if let Some(token) = still_valid(&context, &plan, &waiter.progress.deadline_error()) {
            // The flow continues in the background: a later caller may get its result.
            tokio::spawn(await_refresh(waiter));
            return Ok(token);
        }
        // The cached token has expired meanwhile: wait for the new one.
        outcome = timeout(request_timeout.saturating_sub(wait), &mut waiter.work).await;
    }
    let error = match outcome {
        Ok(Ok(obtained)) if obtained.from_cache => {
            return Ok(AccessToken::new(obtained.token, TokenSource::Cache, None));
        }
        Ok(Ok(obtained)) => {
            let source = TokenSource::IdentityProvider;
            let token = AccessToken::new(obtained.token, source, None);
            return Ok(token.with_timings(waiter.progress.timings()));
        }
        Ok(Err(error)) => error,
        Err(_) => waiter.progress.deadline_error(),
    };
    still_valid(&context, &plan, &error).ok_or(error)
}

/// How long a caller waits for a new token. While the cached one is valid, that is short, and never until it expires.
fn wait_limit(context: &ClientContext, plan: &Plan) -> Duration {
    let now = context.now();
    match valid_token(context, plan, now) {
        Some(token) => MAX_WAIT.min(token.remaining(now) / 2),
        None => MAX_TIMEOUT,
    }
}

/// The cached token, if it is still valid, after a failed refresh.
fn still_valid(context: &ClientContext, plan: &Plan, error: &Error) -> Option<AccessToken> {
    let now = context.now();
    let token = valid_token(context, plan, now)?;
    tracing::warn!(code = error.kind().code(), stage = %error.stage(), "token refresh failed; returning the cached token");
    token.renewal().failed(now, error.clone(), context.chance());
    Some(AccessToken::new(
        token,
        TokenSource::Cache,
        Some(error.clone()),
    ))
}

fn valid_token(context: &ClientContext, plan: &Plan, now: DualTime) -> Option<Arc<CachedToken>> {
    if plan.forced || plan.challenged {
        return None;
    }
    let token = context.identity.tokens.get(&plan.key)?;
    (token.freshness(now) != Freshness::Expired).then_some(token)
}

/// Longer timeouts are reduced to this, so that no clock overflows.
pub(super) const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// While the cached token is valid. The retries of requests to IMDS take up to 7 s.
const MAX_WAIT: Duration = Duration::from_secs(10);
