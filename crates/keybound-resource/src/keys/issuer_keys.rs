use super::VerificationKey;
use super::key_set::KeySet;
use crate::Reason;
use crate::clock::MAX_STEP_BACK;
use arc_swap::ArcSwapOption;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The keys of one issuer, and when they are refreshed. All times are in seconds.
#[derive(Debug)]
pub(crate) struct IssuerKeys {
    origin: KeyOrigin,
    /// How old they may become.
    max_age: i64,
    current: ArcSwapOption<HashMap<String, Arc<VerificationKey>>>,
    loaded_at: AtomicI64,
    /// Their age is counted from then. For those of a file it is earlier than `loaded_at`.
    fetched_at: AtomicI64,
    /// From then on they are used only after another refresh was tried.
    fresh_until: AtomicI64,
    /// After how many seconds they are refreshed.
    refresh_interval: i64,
    refresh: Mutex<RefreshState>,
    /// The number of refreshes that have ended.
    ended: watch::Sender<u64>,
}

/// Where keys come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum KeyOrigin {
    /// They do not change.
    Fixed,
    /// A [key file](super::KeyFile), in which the issuer has this name.
    File { path: PathBuf, issuer: String },
    /// The issuer's metadata document, which names the key set.
    Metadata {
        url: String,
        /// The `issuer` that the document must have.
        issuer: String,
    },
}

#[derive(Debug, Default)]
struct RefreshState {
    last_attempt: Option<i64>,
    /// The one before.
    previous_attempt: Option<i64>,
    /// When the refresh that runs was started.
    running_since: Option<i64>,
    /// The number of the last refresh.
    run: u64,
    results: RefreshResults,
}

/// The results of refreshes.
#[derive(Clone, Debug, Default)]
pub(crate) struct RefreshResults {
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    /// Why the last one failed.
    pub(crate) error: Option<String>,
}

/// A refresh that runs.
pub(crate) struct RunningRefresh {
    ended: watch::Receiver<u64>,
    #[cfg(feature = "tokio")]
    run: u64,
    #[cfg(feature = "tokio")]
    keys: Arc<IssuerKeys>,
}

/// The keys that were loaded.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) keys: KeySet,
    pub(crate) fetched_at: i64,
}

/// Why a refresh is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefreshCause {
    /// There are no keys, or they may not be used any more.
    Unavailable,
    /// The keys are old.
    Age,
    /// A token names a key that is not among them.
    UnknownKey,
}

impl IssuerKeys {
    pub(crate) fn new(origin: KeyOrigin, max_age: i64) -> Self {
        Self {
            refresh_interval: refresh_interval(&origin),
            origin,
            max_age,
            current: ArcSwapOption::empty(),
            loaded_at: AtomicI64::new(0),
            fetched_at: AtomicI64::new(0),
            fresh_until: AtomicI64::new(i64::MIN),
            refresh: Mutex::default(),
            ended: watch::Sender::new(0),
        }
    }

    pub(crate) fn origin(&self) -> &KeyOrigin {
        &self.origin
    }

    /// The key with this id.
    pub(crate) fn find(&self, id: &str, now: i64) -> Result<Arc<VerificationKey>, Reason> {
        let current = self.current.load();
        let keys = current.as_ref().ok_or(Reason::KeysUnavailable)?;
        // Where nothing was fetched for long, as no request came, a retired key must not be accepted.
        if !self.are_fresh(now) || !self.are_usable(now) {
            return Err(Reason::KeysUnavailable);
        }
        keys.get(id).cloned().ok_or(Reason::KeyUnknown)
    }

    /// Whether decisions that were made with these keys still count.
    pub(crate) fn are_fresh(&self, now: i64) -> bool {
        now < self.fresh_until.load(Ordering::Acquire) && !self.are_from_later(now)
    }

    /// Whether the clock was set back since they were loaded: their age is unknown.
    fn are_from_later(&self, now: i64) -> bool {
        self.loaded_at.load(Ordering::Acquire) > now.saturating_add(MAX_STEP_BACK)
    }

    /// Whether there are keys that may be used.
    pub(crate) fn are_usable(&self, now: i64) -> bool {
        self.current.load().is_some() && now < self.end_of_use()
    }

    /// The keys, and when they were fetched. `None` if they were never loaded.
    pub(crate) fn loaded(&self) -> Option<Loaded> {
        let keys = self.current.load_full()?;
        Some(Loaded {
            keys: KeySet(HashMap::clone(&keys)),
            fetched_at: self.fetched_at.load(Ordering::Acquire),
        })
    }

    /// Whether the keys should be refreshed because of their age, or are missing.
    pub(crate) fn are_due(&self, now: i64) -> bool {
        let loaded_at = self.loaded_at.load(Ordering::Acquire);
        let is_old = now >= loaded_at + self.refresh_interval || self.are_from_later(now);
        !self.is_fixed() && (!self.are_usable(now) || is_old)
    }

    /// Whether there are no keys that may be used, and the last refresh failed.
    pub(crate) fn have_failed(&self, now: i64) -> bool {
        !self.are_usable(now) && self.refresh_state().results.error.is_some()
    }

    pub(crate) fn refresh_results(&self) -> RefreshResults {
        self.refresh_state().results.clone()
    }

    /// Starts a refresh, unless one runs or has run recently. The caller then calls [`end`](Self::end) with the number of the
    /// refresh.
    pub(crate) fn start(&self, cause: RefreshCause, now: i64) -> Option<u64> {
        if self.is_fixed() {
            return None;
        }
        let mut state = self.refresh_state();
        if !self.allows(&state, cause, now) {
            return None;
        }
        state.previous_attempt = state.last_attempt;
        state.last_attempt = Some(now);
        state.running_since = Some(now);
        state.run += 1;
        Some(state.run)
    }

    /// Ends a refresh that was started and did not run: it does not count as an attempt.
    pub(crate) fn cancel(&self, run: u64) {
        let mut state = self.refresh_state();
        if state.run == run {
            state.last_attempt = state.previous_attempt;
            self.set_ended(state);
        }
    }

    /// Ends a refresh with its result, unless another one was started meanwhile. The time until the next attempt starts now.
    pub(crate) fn end(&self, run: u64, loaded: Result<Loaded, String>, now: i64) {
        let mut state = self.refresh_state();
        if state.run != run {
            return;
        }
        state.last_attempt = Some(now);
        match loaded {
            Ok(loaded) => {
                state.results.succeeded += 1;
                state.results.error = None;
                self.install(loaded, now);
            }
            Err(error) => {
                state.results.failed += 1;
                state.results.error = Some(error);
                self.keep(now);
            }
        }
        self.set_ended(state);
    }

    /// The refresh that runs, if one does.
    pub(crate) fn running(self: &Arc<Self>) -> Option<RunningRefresh> {
        let state = self.refresh_state();
        state.running_since.map(|_| RunningRefresh {
            ended: self.ended.subscribe(),
            #[cfg(feature = "tokio")]
            run: state.run,
            #[cfg(feature = "tokio")]
            keys: Arc::clone(self),
        })
    }

    /// Allows the use of the last keys while a refresh still runs, as after one that failed.
    #[cfg(feature = "tokio")]
    fn keep_during(&self, run: u64, now: i64) {
        let state = self.refresh_state();
        if state.run == run && state.running_since.is_some() {
            self.keep(now);
        }
    }

    /// Replaces the keys. One that did not change remains the same value, with the decisions that were cached for it.
    pub(crate) fn install(&self, loaded: Loaded, now: i64) {
        let KeySet(mut keys) = loaded.keys;
        let earlier = self.current.load_full();
        for (id, known) in earlier.iter().flat_map(|keys| keys.iter()) {
            match keys.get_mut(id) {
                Some(key) if key.is_same(known) => *key = Arc::clone(known),
                _ => known.retire(),
            }
        }
        self.current.store(Some(Arc::new(keys)));
        self.loaded_at.store(now, Ordering::Release);
        self.fetched_at.store(loaded.fetched_at, Ordering::Release);
        let fresh_until = match self.origin {
            KeyOrigin::Fixed => {
                // They have no age.
                self.loaded_at.store(0, Ordering::Release);
                i64::MAX
            }
            KeyOrigin::File { .. } => self.end_of_use().min(now + 2 * FILE_INTERVAL),
            KeyOrigin::Metadata { .. } => self.end_of_use().min(now + 2 * REFRESH_INTERVAL),
        };
        self.fresh_until.store(fresh_until, Ordering::Release);
    }

    /// Keeps the last keys after a failure, until they are too old.
    fn keep(&self, now: i64) {
        if self.are_from_later(now) {
            self.loaded_at.store(now, Ordering::Release);
            self.fetched_at.fetch_min(now, Ordering::AcqRel);
        }
        let retry = self.end_of_use().min(now + RETRY_AFTER_FAILURE);
        self.fresh_until.fetch_max(retry, Ordering::AcqRel);
    }

    fn set_ended(&self, mut state: MutexGuard<'_, RefreshState>) {
        state.running_since = None;
        drop(state);
        self.ended.send_modify(|ended| *ended += 1);
    }

    fn allows(&self, state: &RefreshState, cause: RefreshCause, now: i64) -> bool {
        let interval = match (cause, &self.origin) {
            (RefreshCause::Unavailable, _) | (_, KeyOrigin::File { .. }) => RETRY_WITHOUT_KEYS,
            (RefreshCause::Age, _) => RETRY_AFTER_FAILURE,
            (RefreshCause::UnknownKey, _) => UNKNOWN_KEY_INTERVAL,
        };
        let has_passed = |last: i64, interval: i64| now.abs_diff(last) >= interval.unsigned_abs();
        match state.running_since {
            // A fetcher that does not end must not stop all refreshes.
            Some(started) => has_passed(started, MAX_RUN),
            None => state
                .last_attempt
                .is_none_or(|last| has_passed(last, interval)),
        }
    }

    fn end_of_use(&self) -> i64 {
        match self.is_fixed() {
            true => i64::MAX,
            false => {
                let fetched_at = self.fetched_at.load(Ordering::Acquire);
                fetched_at.saturating_add(self.max_age)
            }
        }
    }

    fn is_fixed(&self) -> bool {
        matches!(self.origin, KeyOrigin::Fixed)
    }

    fn refresh_state(&self) -> MutexGuard<'_, RefreshState> {
        // A panic cannot leave it incomplete.
        self.refresh.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RunningRefresh {
    /// Waits for its end.
    pub(crate) async fn ended(&mut self) {
        // An error: the verifiers with these keys were dropped.
        let _ = self.ended.changed().await;
    }

    /// It is too slow to be waited for: the last keys may be used meanwhile.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_slow(&self, now: i64) {
        self.keys.keep_during(self.run, now);
    }
}

impl fmt::Display for KeyOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed => f.write_str("all issuers"),
            Self::File { issuer, .. } => f.write_str(issuer),
            Self::Metadata { url, .. } => f.write_str(url),
        }
    }
}

/// Replicas that were started together do not fetch together.
fn refresh_interval(origin: &KeyOrigin) -> i64 {
    match origin {
        KeyOrigin::File { .. } => FILE_INTERVAL,
        _ => REFRESH_INTERVAL - (RandomState::new().hash_one(origin) % MAX_JITTER) as i64,
    }
}

/// As Microsoft advises.
const REFRESH_INTERVAL: i64 = 3600;
const MAX_JITTER: u64 = 300;
/// A file is read this often.
const FILE_INTERVAL: i64 = 60;
/// How often tokens with unknown keys can cause a refresh.
const UNKNOWN_KEY_INTERVAL: i64 = 300;
const RETRY_AFTER_FAILURE: i64 = 60;
const RETRY_WITHOUT_KEYS: i64 = 5;
/// Two documents take ten seconds at most.
const MAX_RUN: i64 = 30;
