use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// When keys are refreshed: one refresh at a time, and a time between two. All times are in seconds of the monotonic clock: no step of
/// the wall clock delays a refresh or adds one.
#[derive(Debug)]
pub(crate) struct RefreshSchedule {
    intervals: Intervals,
    state: Mutex<State>,
    /// The number of refreshes that have ended.
    ended: watch::Sender<u64>,
}

/// The times between two refreshes, by the cause of the second one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Intervals {
    age: i64,
    unknown_key: i64,
}

/// Why a refresh is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefreshCause {
    /// There are no keys that may be used now.
    Unavailable,
    /// The keys are old.
    Age,
    /// A token names a key that is not among them.
    UnknownKey,
}

#[derive(Debug, Default)]
struct State {
    last_attempt: Option<i64>,
    /// The one before.
    previous_attempt: Option<i64>,
    /// When the refresh that runs was started.
    running_since: Option<i64>,
    /// Whether a request waited in vain for the refresh that runs.
    is_slow: bool,
    /// The number of the last refresh.
    run: u64,
}

/// See [`RefreshSchedule::lock`].
pub(crate) struct LockedSchedule<'a> {
    schedule: &'a Arc<RefreshSchedule>,
    state: MutexGuard<'a, State>,
}

/// A refresh that runs.
pub(crate) struct RunningRefresh {
    ended: watch::Receiver<u64>,
    #[cfg(feature = "tokio")]
    run: u64,
    #[cfg(feature = "tokio")]
    schedule: Arc<RefreshSchedule>,
}

impl Intervals {
    /// Those of documents that an issuer publishes.
    pub(crate) const DISCOVERED: Self = Self {
        age: 60,
        unknown_key: 300,
    };

    /// Those of a file, for all its issuers together.
    pub(crate) const FILE: Self = Self {
        age: RETRY_WITHOUT_KEYS,
        unknown_key: 60,
    };
}

impl RefreshSchedule {
    pub(crate) fn new(intervals: Intervals) -> Arc<Self> {
        Arc::new(Self {
            intervals,
            state: Mutex::default(),
            ended: watch::Sender::new(0),
        })
    }

    /// No refresh starts or ends meanwhile.
    pub(crate) fn lock(self: &Arc<Self>) -> LockedSchedule<'_> {
        LockedSchedule {
            schedule: self,
            state: self.state(),
        }
    }

    /// Ends a refresh that was started and did not run: it does not count as an attempt.
    pub(crate) fn cancel(&self, run: u64) {
        let mut state = self.state();
        if state.run == run {
            state.last_attempt = state.previous_attempt;
            self.set_ended(&mut state);
        }
    }

    /// Ends a refresh: `install` takes over its result, unless another one was started meanwhile. The time until the next attempt starts
    /// now.
    pub(crate) fn end(&self, run: u64, now: i64, install: impl FnOnce()) {
        let mut state = self.state();
        if state.run != run {
            return;
        }
        state.last_attempt = Some(now);
        install();
        self.set_ended(&mut state);
    }

    fn set_ended(&self, state: &mut State) {
        state.running_since = None;
        // While it is locked: who waits for another refresh that starts now must not take this end for its end.
        self.ended.send_modify(|ended| *ended += 1);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic cannot leave it incomplete.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LockedSchedule<'_> {
    /// The number of a new refresh, unless one runs or has run recently.
    pub(crate) fn start(&mut self, cause: RefreshCause, now: i64) -> Option<u64> {
        if !self.allows(cause, now) {
            return None;
        }
        let state = &mut *self.state;
        state.previous_attempt = state.last_attempt;
        state.last_attempt = Some(now);
        state.running_since = Some(now);
        state.is_slow = false;
        state.run += 1;
        Some(state.run)
    }

    /// The refresh that runs, if one does.
    pub(crate) fn running(&self) -> Option<RunningRefresh> {
        self.state.running_since.map(|_| RunningRefresh {
            ended: self.schedule.ended.subscribe(),
            #[cfg(feature = "tokio")]
            run: self.state.run,
            #[cfg(feature = "tokio")]
            schedule: Arc::clone(self.schedule),
        })
    }

    /// Whether a refresh runs for so long that another one may replace it.
    pub(crate) fn is_hung(&self, now: i64) -> bool {
        let since = self.state.running_since;
        since.is_some_and(|since| now.saturating_sub(since) >= MAX_RUN)
    }

    /// Whether a refresh runs for longer than requests wait for it. One after which another one may start is not waited for.
    pub(crate) fn is_slow(&self, now: i64) -> bool {
        self.state.running_since.is_some_and(|since| {
            let seconds = now.saturating_sub(since);
            seconds < MAX_RUN && (self.state.is_slow || seconds > MAX_WAIT)
        })
    }

    fn allows(&self, cause: RefreshCause, now: i64) -> bool {
        let intervals = self.schedule.intervals;
        let interval = match cause {
            RefreshCause::Unavailable => RETRY_WITHOUT_KEYS,
            RefreshCause::Age => intervals.age,
            RefreshCause::UnknownKey => intervals.unknown_key,
        };
        let (since, interval) = match self.state.running_since {
            // A fetcher that does not end must not stop all refreshes.
            Some(started) => (Some(started), MAX_RUN),
            None => (self.state.last_attempt, interval),
        };
        since.is_none_or(|since| now.saturating_sub(since) >= interval)
    }
}

impl RunningRefresh {
    /// Waits for its end.
    pub(crate) async fn ended(&mut self) {
        // An error, without the feature `tokio`: the verifiers with these keys were dropped. With it, this value has the sender.
        let _ = self.ended.changed().await;
    }

    /// Others do not wait for it as well.
    #[cfg(feature = "tokio")]
    pub(crate) fn set_slow(&self) {
        let mut state = self.schedule.state();
        if state.run == self.run {
            state.is_slow = true;
        }
    }
}

/// How soon keys are fetched again that may not be used otherwise.
pub(crate) const RETRY_WITHOUT_KEYS: i64 = 5;
/// Two documents take ten seconds at most.
const MAX_RUN: i64 = 30;
/// How long a request waits.
const MAX_WAIT: i64 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake};

    /// Others that wait for the next refresh would take this end for its end.
    #[test]
    fn no_refresh_starts_before_the_end_of_the_last_one_is_announced() {
        let schedule = RefreshSchedule::new(Intervals::FILE);
        let cancel = |run| schedule.cancel(run);
        let end = |run| schedule.end(run, 0, || {});
        for (ends, announce) in [&cancel as &dyn Fn(u64), &end].into_iter().enumerate() {
            let run = schedule.lock().start(RefreshCause::Age, 0).unwrap();
            let mut running = schedule.lock().running().unwrap();
            let waiting = Arc::new(Waiting::new(&schedule));
            let waker = Arc::clone(&waiting).into();
            let mut ended = pin!(running.ended());
            let mut context = Context::from_waker(&waker);
            assert!(ended.as_mut().poll(&mut context).is_pending());
            announce(run);
            let woken = waiting.woken_while_locked.load(Ordering::Relaxed);
            assert_eq!(woken, 1, "{ends}");
        }
    }

    struct Waiting {
        schedule: Arc<RefreshSchedule>,
        woken_while_locked: AtomicUsize,
    }

    impl Waiting {
        fn new(schedule: &Arc<RefreshSchedule>) -> Self {
            Self {
                schedule: Arc::clone(schedule),
                woken_while_locked: AtomicUsize::new(0),
            }
        }
    }

    impl Wake for Waiting {
        fn wake(self: Arc<Self>) {
            if self.schedule.state.try_lock().is_err() {
                self.woken_while_locked.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
