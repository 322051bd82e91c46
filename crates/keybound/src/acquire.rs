//! The way of a request: from what is remembered, or by one flight for all who want the same; renewal ahead; what serves
//! on while a service fails.
#[cfg(feature = "azure")]
use crate::access_token::IssuedToken;
use crate::access_token::{AccessToken, TokenSource};
use crate::client::Shared;
use crate::flow;
use crate::moment::Moment;
use crate::request::{KeyRequirements, TokenRequest};
use crate::single_flight::Waiter;
use crate::state::{
    AskedToken, BindingFlight, CachedBinding, CachedToken, HasRenewal as _, Obtained, Renewal,
    Service, TokenFlight,
};
use keybound_core::{Attestation, Error, Result, TokenCacheKey, merge_capabilities};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::timeout;
use uuid::Uuid;

/// What is asked for, checked before anything is done.
pub(crate) struct Plan {
    pub(crate) key: TokenCacheKey,
    /// Whether a token that is remembered is not wanted.
    pub(crate) forced: bool,
    /// Whether a resource's challenge wants a fresh certificate first.
    pub(crate) challenged: bool,
    /// The claims parameter, capabilities merged in.
    pub(crate) claims: Option<Arc<str>>,
}

impl Plan {
    fn new(shared: &Shared, request: &TokenRequest) -> Result<Self> {
        Ok(Self {
            key: shared.token_key(request)?,
            forced: request.force_refresh,
            challenged: request.claims.is_some(),
            claims: merge_capabilities(request.claims.as_ref(), &shared.settings.capabilities)?
                .map(Arc::from),
        })
    }

    fn flight(&self) -> TokenFlight {
        TokenFlight {
            key: self.key.clone(),
            forced: self.forced,
            claims: self.claims.clone().filter(|_| self.challenged),
        }
    }

    /// Whether a remembered certificate is good enough for this.
    pub(crate) fn allows(&self, binding: &CachedBinding, shared: &Shared) -> bool {
        binding.binding.key_strength() >= self.key.min_strength
            && (!binding.binding.is_simulated() || shared.settings.is_simulated_world())
    }
}

impl Shared {
    /// Both clocks.
    pub(crate) fn now(&self) -> Moment {
        self.settings.clocks.now()
    }

    /// A number from 0 to 1, by chance: spreads what would otherwise happen at once.
    pub(crate) fn chance(&self) -> f64 {
        self.settings.chance.next()
    }

    /// What a request asks for, checked.
    pub(crate) fn token_key(&self, request: &TokenRequest) -> Result<TokenCacheKey> {
        let scope = request.scope.clone()?;
        Ok(TokenCacheKey {
            token_type: request.token_type,
            attestation: self.attestation(request.requirements),
            min_strength: request.requirements.min_strength,
            scope,
        })
    }

    fn asked_token<'a>(&self, request: &TokenRequest, scope: &'a str) -> AskedToken<'a> {
        AskedToken {
            scope,
            token_type: request.token_type,
            attestation: self.attestation(request.requirements),
            min_strength: request.requirements.min_strength,
        }
    }

    /// What attests the key, where that is asked for.
    pub(crate) fn attestation(&self, requirements: KeyRequirements) -> Attestation {
        match (requirements.attested, self.settings.attests_simulated()) {
            (false, _) => Attestation::None,
            (true, false) => Attestation::Attested,
            (true, true) => Attestation::Simulated,
        }
    }

    /// Shows the remembered token, where there is nothing to do but to hand it out.
    #[cfg(feature = "azure")]
    pub(crate) fn at_rest<T>(
        &self,
        asked: &AskedToken<'_>,
        see: impl FnOnce(&IssuedToken) -> T,
    ) -> Option<T> {
        let now = self.settings.clocks.glance();
        let seen = self.identity.tokens.look(asked, |token| {
            token.is_at_rest(now).then(|| see(&token.issued))
        });
        seen.flatten()
    }

    /// Whether a token that is not remembered may be used on: neither it nor its certificate is due to be renewed, and no
    /// other certificate has taken the place of its own.
    pub(crate) fn may_hold(&self, token: &AccessToken) -> bool {
        let (token, now) = (token.cached(), self.now());
        let binding = &token.binding;
        let attestation = binding.binding.attestation();
        let current = self.identity.bindings.get(attestation, now);
        let replaced = current.is_some_and(|current| !current.is(binding));
        !replaced && token.service(now) == Service::Serve && !binding.is_due(now)
    }

    /// The remembered token, where it serves. One that is due is renewed meanwhile.
    pub(crate) fn remembered(self: &Arc<Self>, request: &TokenRequest) -> Option<AccessToken> {
        let scope = request.scope.as_ref().ok()?;
        if request.force_refresh || request.claims.is_some() {
            return None;
        }
        let asked = self.asked_token(request, scope.as_str());
        let now = self.settings.clocks.glance();
        match self
            .identity
            .tokens
            .look(&asked, |token| Glance::at(token, now))?
        {
            Glance::Serves(token) => Some(token),
            Glance::NeedsCare(token) => self.care_for(request, &token, now),
        }
    }

    /// Serves a token for which there is more to do than to hand it out.
    fn care_for(
        self: &Arc<Self>,
        request: &TokenRequest,
        token: &Arc<CachedToken>,
        now: Moment,
    ) -> Option<AccessToken> {
        let key = self.token_key(request).ok()?;
        if token.binding.binding.is_simulated() && !self.settings.is_simulated_world() {
            return None;
        }
        match token.service(now) {
            Service::Ended => return None,
            // While the service fails, it is not asked for each call.
            Service::Renew if !token.renewal().rests(now) => return None,
            Service::Serve | Service::Renew => {}
            Service::ServeAndRenew => self.renew_token(&key, token, now),
        }
        let mut failure = token.renewal().last_failure();
        if token.binding.is_due(now) {
            failure = failure.or_else(|| token.binding.renewal().last_failure());
            let plan = Plan {
                key,
                forced: false,
                challenged: false,
                claims: None,
            };
            renew_binding(self, &Arc::new(plan), &token.binding);
        }
        Some(AccessToken::new(token, TokenSource::Cache, failure))
    }

    /// Joins or starts the minting of a certificate.
    pub(crate) fn join_minting(
        self: &Arc<Self>,
        plan: &Arc<Plan>,
        bypass: bool,
        request_id: Uuid,
    ) -> Waiter<Result<Arc<CachedBinding>>> {
        let attestation = plan.key.attestation;
        let bypass = bypass || self.identity.bindings.was_rejected(attestation);
        let key = BindingFlight {
            attestation,
            min_strength: plan.key.min_strength,
            bypass,
        };
        let (shared, plan) = (Arc::clone(self), Arc::clone(plan));
        self.identity.binding_flights.join(&key, move |progress| {
            let (shared, plan) = (Arc::clone(&shared), Arc::clone(&plan));
            Box::pin(flow::mint(shared, progress, plan, bypass, request_id))
        })
    }

    fn join_obtaining(self: &Arc<Self>, plan: &Arc<Plan>) -> Waiter<Result<Obtained>> {
        let key = plan.flight();
        let (shared, plan) = (Arc::clone(self), Arc::clone(plan));
        self.identity.token_flights.join(&key, move |progress| {
            let (shared, plan) = (Arc::clone(&shared), Arc::clone(&plan));
            Box::pin(flow::obtain(shared, progress, plan))
        })
    }

    /// Renews a token in the background, on the caller's runtime.
    fn renew_token(self: &Arc<Self>, key: &TokenCacheKey, token: &Arc<CachedToken>, now: Moment) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let Some(attempt) = Renewal::begin(token, now) else {
            return;
        };
        let Ok(claims) = merge_capabilities(None, &self.settings.capabilities) else {
            return;
        };
        let plan = Plan {
            key: key.clone(),
            forced: false,
            challenged: false,
            claims: claims.map(Arc::from),
        };
        let waiter = self.join_obtaining(&Arc::new(plan));
        let (shared, token) = (Arc::clone(self), Arc::clone(token));
        runtime.spawn(async move {
            let _attempt = attempt;
            if let Err(error) = within(waiter).await {
                tracing::warn!(code = error.kind().code(), stage = %error.stage(), "a token could not be renewed ahead and serves on");
                token.renewal().failed(shared.now(), error, shared.chance());
            }
        });
    }
}

/// What a look into the cache came to.
enum Glance {
    Serves(AccessToken),
    NeedsCare(Arc<CachedToken>),
}

impl Glance {
    /// Judges a token under the cache's lock: nothing here waits.
    fn at(token: &Arc<CachedToken>, now: Moment) -> Self {
        if token.is_at_rest(now) {
            Self::Serves(AccessToken::new(token, TokenSource::Cache, None))
        } else {
            Self::NeedsCare(Arc::clone(token))
        }
    }
}

/// Gets a token that is not remembered, within the request's time. Where that fails, one that is still valid serves on.
pub(crate) async fn acquire(shared: Arc<Shared>, request: TokenRequest) -> Result<AccessToken> {
    let plan = Arc::new(Plan::new(&shared, &request)?);
    let time = request.timeout.min(LONGEST_TIMEOUT);
    let wait = time.min(patience(&shared, &plan));
    let mut waiter = shared.join_obtaining(&plan);
    let mut told = timeout(wait, &mut waiter.work).await;
    if told.is_err() && wait < time {
        if let Some(token) = serve_on(&shared, &plan, &waiter.progress.out_of_time()) {
            // This caller does not wait for it any more; the next one may have it.
            tokio::spawn(within(waiter));
            return Ok(token);
        }
        // The one before has ended meanwhile, so that there is nothing but the new one.
        told = timeout(time.saturating_sub(wait), &mut waiter.work).await;
    }
    let error = match told {
        Ok(Ok(Obtained {
            token,
            from_cache: true,
        })) => {
            return Ok(AccessToken::new(&token, TokenSource::Cache, None));
        }
        Ok(Ok(Obtained {
            token,
            from_cache: false,
        })) => {
            let token = AccessToken::new(&token, TokenSource::IdentityProvider, None);
            return Ok(token.with_timings(waiter.progress.timings()));
        }
        Ok(Err(error)) => error,
        Err(_) => waiter.progress.out_of_time(),
    };
    serve_on(&shared, &plan, &error).ok_or(error)
}

/// How long a caller waits: not long for a new token while the one before is valid, and never until it has ended.
fn patience(shared: &Arc<Shared>, plan: &Plan) -> Duration {
    let now = shared.now();
    match valid(shared, plan, now) {
        Some(token) => LONGEST_PATIENCE.min(token.left(now) / 2),
        None => LONGEST_TIMEOUT,
    }
}

/// The remembered token, where it is still valid although a new one was wanted.
fn serve_on(shared: &Arc<Shared>, plan: &Plan, error: &Error) -> Option<AccessToken> {
    let now = shared.now();
    let token = valid(shared, plan, now)?;
    tracing::warn!(code = error.kind().code(), stage = %error.stage(), "a token could not be renewed and serves on");
    token.renewal().failed(now, error.clone(), shared.chance());
    Some(AccessToken::new(
        &token,
        TokenSource::Cache,
        Some(error.clone()),
    ))
}

fn valid(shared: &Arc<Shared>, plan: &Plan, now: Moment) -> Option<Arc<CachedToken>> {
    if plan.forced || plan.challenged {
        return None;
    }
    let token = shared.identity.tokens.get(&plan.key)?;
    let serves = token.service(now) != Service::Ended && plan.allows(&token.binding, shared);
    serves.then_some(token)
}

/// Renews a certificate in the background, on the caller's runtime.
pub(crate) fn renew_binding(shared: &Arc<Shared>, plan: &Arc<Plan>, binding: &Arc<CachedBinding>) {
    let now = shared.now();
    let superseded = shared
        .identity
        .bindings
        .get(plan.key.attestation, now)
        .is_some_and(|current| !Arc::ptr_eq(&current, binding));
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    if superseded {
        return;
    }
    let Some(attempt) = Renewal::begin(binding, now) else {
        return;
    };
    let waiter = shared.join_minting(plan, false, Uuid::new_v4());
    let (shared, binding) = (Arc::clone(shared), Arc::clone(binding));
    runtime.spawn(async move {
        let _attempt = attempt;
        let error = match within(waiter).await {
            Ok(minted) if !minted.is(&binding) => return,
            Ok(_) => Error::invalid_answer(keybound_core::Stage::Credential, "the same certificate was issued again"),
            Err(error) => error,
        };
        tracing::warn!(code = error.kind().code(), stage = %error.stage(), "a certificate could not be renewed ahead and serves on");
        binding.renewal().failed(shared.now(), error, shared.chance());
    });
}

/// Waits for a renewal, for as long as a caller would.
async fn within<T: Clone>(waiter: Waiter<Result<T>>) -> Result<T> {
    match timeout(LONGEST_RENEWAL, waiter.work).await {
        Ok(result) => result,
        Err(_) => Err(waiter.progress.out_of_time()),
    }
}

/// A longer timeout is none; clocks overflow on much more.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// While the token before is valid. IMDS, where it fails at first, answers within its retries' 7 s.
const LONGEST_PATIENCE: Duration = Duration::from_secs(10);
const LONGEST_RENEWAL: Duration = Duration::from_secs(60);
