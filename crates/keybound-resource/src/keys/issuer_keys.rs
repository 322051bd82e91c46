use super::key_age::KeyAge;
use super::refresh_schedule::{LockedSchedule, RefreshCause, RefreshSchedule, RunningRefresh};
use super::{KeyOrigin, KeySet, VerificationKey};
use crate::Reason;
use crate::clock::{DualTime, GuardedClock};
use arc_swap::ArcSwapOption;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The keys of one issuer.
pub(crate) struct IssuerKeys {
    origin: KeyOrigin,
    /// Of the first of the verifiers that share them.
    clock: Arc<GuardedClock>,
    current: ArcSwapOption<HashMap<String, Arc<VerificationKey>>>,
    age: KeyAge,
    schedule: Arc<RefreshSchedule>,
    results: Mutex<RefreshResults>,
}

/// The results of refreshes.
#[derive(Clone, Debug, Default)]
pub(crate) struct RefreshResults {
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    /// Why the last one failed.
    pub(crate) error: Option<String>,
}

/// The keys that were loaded.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) keys: KeySet,
    /// In seconds since the Unix epoch.
    pub(crate) fetched_at: i64,
}

/// Why no key was found, and what the request waits for.
pub(crate) struct MissingKey {
    pub(crate) reason: Reason,
    /// The number of the refresh that was started: see [`RefreshSchedule::end`].
    pub(crate) started: Option<u64>,
    pub(crate) running: Option<RunningRefresh>,
}

impl IssuerKeys {
    pub(crate) fn new(
        origin: KeyOrigin,
        max_age: i64,
        clock: Arc<GuardedClock>,
        schedule: Arc<RefreshSchedule>,
    ) -> Self {
        Self {
            age: KeyAge::new(&origin, max_age),
            origin,
            clock,
            current: ArcSwapOption::empty(),
            schedule,
            results: Mutex::default(),
        }
    }

    pub(crate) fn origin(&self) -> &KeyOrigin {
        &self.origin
    }

    pub(crate) fn clock(&self) -> &Arc<GuardedClock> {
        &self.clock
    }

    pub(crate) fn schedule(&self) -> &Arc<RefreshSchedule> {
        &self.schedule
    }

    /// The key with this id. If it is not among the keys, or they may not be used now, a refresh is started, if it may start.
    pub(crate) fn find(&self, id: &str) -> Result<Arc<VerificationKey>, MissingKey> {
        let now = self.clock.read();
        self.look_up(id, now).or_else(|_| self.find_again(id, now))
    }

    /// Looks again while no refresh ends: one that has ended meanwhile may have brought the key.
    fn find_again(&self, id: &str, now: DualTime) -> Result<Arc<VerificationKey>, MissingKey> {
        let mut schedule = self.schedule.lock();
        if schedule.is_slow(now.monotonic) {
            self.age.keep(now.wall);
        }
        self.look_up(id, now).map_err(|reason| {
            let cause = match reason {
                Reason::KeyUnknown => RefreshCause::UnknownKey,
                _ => RefreshCause::Unavailable,
            };
            let may_change = !self.is_fixed();
            MissingKey {
                reason,
                started: may_change
                    .then(|| self.start(&mut schedule, cause, now))
                    .flatten(),
                running: schedule.running(),
            }
        })
    }

    fn look_up(&self, id: &str, now: DualTime) -> Result<Arc<VerificationKey>, Reason> {
        // Where nothing was fetched for long, as no request came, a retired key must not be accepted. Before the keys are read: those of a
        // refresh that ends meanwhile are there before they are fresh.
        if !self.age.is_fresh(now) {
            return Err(Reason::KeysUnavailable);
        }
        let current = self.current.load();
        let keys = current.as_ref().ok_or(Reason::KeysUnavailable)?;
        keys.get(id).cloned().ok_or(Reason::KeyUnknown)
    }

    /// Whether decisions that were made with these keys still count. `clock` is that of a verifier, which has read it already.
    pub(crate) fn are_fresh(&self, clock: &Arc<GuardedClock>, now: DualTime) -> bool {
        match Arc::ptr_eq(clock, &self.clock) {
            true => self.age.is_fresh(now),
            false => self.age.is_fresh(self.clock.read()),
        }
    }

    /// Whether there are keys that may be used, if need be after a refresh was tried.
    pub(crate) fn are_usable(&self) -> bool {
        self.current.load().is_some() && self.age.is_usable(self.clock.now())
    }

    /// The keys, and when they were fetched. `None` if they were never loaded.
    pub(crate) fn loaded(&self) -> Option<Loaded> {
        let keys = self.current.load_full()?;
        Some(Loaded {
            keys: KeySet(HashMap::clone(&keys)),
            fetched_at: self.age.fetched_at(),
        })
    }

    /// Whether the keys should be refreshed because of their age, or are missing.
    pub(crate) fn are_due(&self) -> bool {
        !self.is_fixed() && (!self.are_usable() || self.age.is_due(self.clock.now()))
    }

    /// Starts a refresh because of their age, if it may start.
    pub(crate) fn start_due(&self) -> Option<u64> {
        let now = self.clock.read();
        let cause = match self.current.load().is_some() && self.age.is_fresh(now) {
            true => RefreshCause::Age,
            false => RefreshCause::Unavailable,
        };
        self.start(&mut self.schedule.lock(), cause, now)
    }

    /// Starts a refresh, if it may start.
    fn start(
        &self,
        schedule: &mut LockedSchedule<'_>,
        cause: RefreshCause,
        now: DualTime,
    ) -> Option<u64> {
        // It has failed. Keys that are no longer fresh remain so: it may have been started before a night without requests.
        if cause != RefreshCause::Unavailable && schedule.is_hung(now.monotonic) {
            self.age.keep(now.wall);
        }
        schedule.start(cause, now.monotonic)
    }

    /// Whether there are no keys that may be used, and the last refresh failed.
    pub(crate) fn have_failed(&self) -> bool {
        !self.are_usable() && self.results().error.is_some()
    }

    pub(crate) fn refresh_results(&self) -> RefreshResults {
        self.results().clone()
    }

    /// Takes over the result of a refresh, while the schedule is locked.
    pub(crate) fn end_refresh(&self, loaded: Result<Loaded, String>, now: DualTime) {
        let loaded = loaded.map(|loaded| self.install(loaded, now.wall));
        if loaded.is_err() {
            self.age.keep(now.wall);
        }
        let result = loaded.and_then(|()| self.check_age(now.wall));
        self.results().add(self.origin.issuer(), result);
        self.age.set_tried(now.monotonic);
    }

    /// Keys of a file may be too old when they are read.
    fn check_age(&self, wall: i64) -> Result<(), String> {
        let KeyOrigin::File { path, issuer } = &self.origin else {
            return Ok(());
        };
        if self.age.is_usable(wall) {
            return Ok(());
        }
        let age = wall.saturating_sub(self.age.fetched_at());
        // Whole hours: what is logged when it changes must not change all the time.
        Err(format!(
            "the keys of {issuer} in the key file {} were fetched more than {} h ago, and their max_age is {} s: does `keybound verify keys \
             --watch` still write the file?",
            path.display(),
            age / 3600,
            self.age.max_age()
        ))
    }

    /// Replaces the keys. One that did not change remains the same value, with the decisions that were cached for it.
    pub(crate) fn install(&self, loaded: Loaded, loaded_at: i64) {
        let KeySet(mut keys) = loaded.keys;
        let earlier = self.current.load_full();
        for (id, known) in earlier.iter().flat_map(|keys| keys.iter()) {
            match keys.get_mut(id) {
                Some(key) if key.is_same(known) => *key = Arc::clone(known),
                _ => known.retire(),
            }
        }
        self.current.store(Some(Arc::new(keys)));
        self.age.set_loaded(loaded.fetched_at, loaded_at);
    }

    fn is_fixed(&self) -> bool {
        matches!(self.origin, KeyOrigin::Fixed)
    }

    fn results(&self) -> MutexGuard<'_, RefreshResults> {
        // A panic cannot leave them incomplete.
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RefreshResults {
    /// Adds a result. Changes are logged: a refresh that fails is repeated after some seconds.
    fn add(&mut self, issuer: &str, result: Result<(), String>) {
        match &result {
            Ok(()) => self.succeeded += 1,
            Err(_) => self.failed += 1,
        }
        let error = result.err();
        match (&self.error, &error) {
            (before, Some(error)) if before.as_ref() != Some(error) => {
                tracing::warn!(error, "an issuer's keys could not be refreshed");
            }
            // At the level of what it ends.
            (Some(_), None) => tracing::warn!(issuer, "an issuer's keys were refreshed again"),
            _ => {}
        }
        self.error = error;
    }
}

#[cfg(test)]
mod tests {
    use super::super::refresh_schedule::Intervals;
    use super::*;
    use crate::SystemClock;
    use serde_json::json;

    #[test]
    fn key_that_arrives_while_the_schedule_is_locked_for_a_request_is_found() {
        let clock = Arc::new(GuardedClock::new(Arc::new(SystemClock::new())));
        let origin = KeyOrigin::Metadata {
            url: String::new(),
            issuer: String::new(),
        };
        let schedule = RefreshSchedule::new(Intervals::DISCOVERED);
        let keys = IssuerKeys::new(origin, 3600, Arc::clone(&clock), schedule);
        let now = clock.read();
        keys.install(loaded("first", now), now.wall);
        assert_eq!(keys.look_up("second", now).err(), Some(Reason::KeyUnknown));
        keys.install(loaded("second", now), now.wall);
        assert!(keys.find_again("second", now).is_ok());
        let missing = keys.find_again("first", now).err().unwrap();
        assert_eq!(missing.reason, Reason::KeyUnknown);
        assert!(missing.started.is_some() && missing.running.is_some());
    }

    fn loaded(id: &str, now: DualTime) -> Loaded {
        let modulus = "_".repeat(341) + "w";
        let key = json!({ "kty": "RSA", "kid": id, "n": modulus, "e": "AQAB" });
        let keys = json!({ "keys": [key] }).to_string();
        Loaded {
            keys: KeySet::parse(keys.as_bytes()).unwrap(),
            fetched_at: now.wall,
        }
    }
}
