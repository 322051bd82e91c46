use super::KeyOrigin;
use super::refresh_schedule::RETRY_WITHOUT_KEYS;
use crate::clock::{DualTime, MAX_STEP_BACK};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicI64, Ordering};

/// How old the keys of an issuer are, and how long they are used. All times are in seconds, by the wall clock unless said otherwise: the
/// monotonic clock stops while a host sleeps.
#[derive(Debug)]
pub(super) struct KeyAge {
    limits: Limits,
    loaded_at: AtomicI64,
    /// For keys of a file it is earlier than `loaded_at`.
    fetched_at: AtomicI64,
    /// From then on they are used only after another refresh was tried.
    fresh_until: AtomicI64,
    /// By the monotonic clock: until then no other refresh starts, whatever the wall clock was set to.
    just_tried_until: AtomicI64,
}

#[derive(Debug)]
struct Limits {
    /// From the time at which they were fetched.
    use_for: i64,
    /// From the time at which they were loaded.
    fresh_for: i64,
    refresh_after: i64,
}

impl KeyAge {
    /// Of keys that were never loaded.
    pub(super) fn new(origin: &KeyOrigin, max_age: i64) -> Self {
        Self {
            limits: Limits::new(origin, max_age),
            loaded_at: AtomicI64::new(0),
            fetched_at: AtomicI64::new(0),
            fresh_until: AtomicI64::new(i64::MIN),
            just_tried_until: AtomicI64::new(i64::MIN),
        }
    }

    /// Whether the keys are used without another refresh.
    pub(super) fn is_fresh(&self, now: DualTime) -> bool {
        let is_fresh =
            now.wall < self.fresh_until.load(Ordering::Acquire) && !self.is_from_later(now.wall);
        is_fresh || self.was_just_tried(now)
    }

    /// Whether a refresh ended so recently that no other one may start: a step of the wall clock must not refuse all requests until then.
    fn was_just_tried(&self, now: DualTime) -> bool {
        now.monotonic < self.just_tried_until.load(Ordering::Acquire) && self.is_usable(now.wall)
    }

    /// Whether the keys may be used where there are no newer ones.
    pub(super) fn is_usable(&self, wall: i64) -> bool {
        wall < self.end_of_use()
    }

    /// Whether the keys should be refreshed.
    pub(super) fn is_due(&self, wall: i64) -> bool {
        let loaded_at = self.loaded_at.load(Ordering::Acquire);
        let is_old = wall >= loaded_at.saturating_add(self.limits.refresh_after);
        is_old || self.is_from_later(wall)
    }

    /// How old they may become.
    pub(super) fn max_age(&self) -> i64 {
        self.limits.use_for
    }

    /// When the keys were fetched from the issuer.
    pub(super) fn fetched_at(&self) -> i64 {
        self.fetched_at.load(Ordering::Acquire)
    }

    /// There are other keys.
    pub(super) fn set_loaded(&self, fetched_at: i64, loaded_at: i64) {
        self.fetched_at.store(fetched_at, Ordering::Release);
        self.loaded_at.store(loaded_at, Ordering::Release);
        let fresh_until = loaded_at.saturating_add(self.limits.fresh_for);
        self.set_fresh_until(fresh_until);
    }

    /// A refresh failed, or takes long: the last keys are used until the next one has ended as well, so that no request waits for it.
    pub(super) fn keep(&self, wall: i64) {
        if self.is_from_later(wall) {
            // As old as those that have to be refreshed.
            let loaded_at = wall.saturating_sub(self.limits.fresh_for);
            self.loaded_at.store(loaded_at, Ordering::Release);
            self.fetched_at.fetch_min(wall, Ordering::AcqRel);
        }
        let loaded_at = self.loaded_at.load(Ordering::Acquire);
        let fresh_until = loaded_at.saturating_add(self.limits.fresh_for);
        self.set_fresh_until(fresh_until.max(wall.saturating_add(KEEP_AFTER_FAILURE)));
    }

    /// A refresh ended.
    pub(super) fn set_tried(&self, monotonic: i64) {
        let until = monotonic.saturating_add(RETRY_WITHOUT_KEYS);
        self.just_tried_until.store(until, Ordering::Release);
    }

    fn set_fresh_until(&self, fresh_until: i64) {
        let fresh_until = fresh_until.min(self.end_of_use());
        self.fresh_until.store(fresh_until, Ordering::Release);
    }

    /// Whether the clock was set back since the keys were loaded: their age is unknown.
    fn is_from_later(&self, wall: i64) -> bool {
        self.loaded_at.load(Ordering::Acquire) > wall.saturating_add(MAX_STEP_BACK)
    }

    fn end_of_use(&self) -> i64 {
        self.fetched_at().saturating_add(self.limits.use_for)
    }
}

impl Limits {
    fn new(origin: &KeyOrigin, max_age: i64) -> Self {
        match origin {
            KeyOrigin::Fixed => Self {
                use_for: i64::MAX,
                fresh_for: i64::MAX,
                refresh_after: i64::MAX,
            },
            KeyOrigin::File { .. } => Self {
                use_for: max_age,
                fresh_for: 2 * FILE_INTERVAL,
                refresh_after: FILE_INTERVAL,
            },
            // Replicas that were started together do not fetch together.
            KeyOrigin::Metadata { .. } => Self {
                use_for: max_age,
                fresh_for: 2 * REFRESH_INTERVAL,
                refresh_after: REFRESH_INTERVAL
                    - (RandomState::new().hash_one(origin) % MAX_JITTER) as i64,
            },
        }
    }
}

/// As Microsoft advises.
const REFRESH_INTERVAL: i64 = 3600;
const MAX_JITTER: u64 = 300;
/// A file is read this often.
const FILE_INTERVAL: i64 = 60;
/// Longer than the minute until another attempt may start, a minute until a request starts it, and the half a minute that it takes at most.
const KEEP_AFTER_FAILURE: i64 = 180;
