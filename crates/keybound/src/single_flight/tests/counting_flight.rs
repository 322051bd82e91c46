//! A single flight that counts its executions.
use super::executor::{pause, yield_now};
use crate::single_flight::{SingleFlight, Waiter};
use futures_util::FutureExt as _;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Weak};
use std::task::Poll;

/// A single flight whose executions return their number, counted up from 1.
#[derive(Clone)]
pub(super) struct CountingFlight(Arc<Inner>);

struct Inner {
    flights: SingleFlight<&'static str, usize>,
    joined: AtomicUsize,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    started: AtomicUsize,
    finished: AtomicUsize,
    dropped: AtomicUsize,
}

impl CountingFlight {
    pub(super) fn new() -> Self {
        Self(Arc::new(Inner {
            flights: SingleFlight::default(),
            joined: AtomicUsize::new(0),
            counts: Arc::default(),
        }))
    }

    /// Joins work that does not finish before `many` callers have joined.
    pub(super) fn join(&self, key: &'static str, many: usize) -> Waiter<usize> {
        let waiter = self.join_uncounted(key, many);
        self.0.joined.fetch_add(1, SeqCst);
        waiter
    }

    /// Like [`join`](Self::join), for a caller that does not count as joined.
    pub(super) fn join_uncounted(&self, key: &'static str, many: usize) -> Waiter<usize> {
        self.join_to(key, many, |number| number)
    }

    /// Like [`join`](Self::join), for work that then panics.
    pub(super) fn join_panicking(&self, key: &'static str, many: usize) -> Waiter<usize> {
        // Without the message of a usual panic.
        let waiter = self.join_to(key, many, |_| std::panic::resume_unwind(Box::new(())));
        self.0.joined.fetch_add(1, SeqCst);
        waiter
    }

    fn join_to(&self, key: &'static str, many: usize, finish: fn(usize) -> usize) -> Waiter<usize> {
        let inner = Arc::downgrade(&self.0);
        let counts = Arc::clone(&self.0.counts);
        self.0.flights.join(&key, move |_| {
            let work = Running::start(&counts);
            let inner = Weak::clone(&inner);
            let work = async move {
                // The execution does not keep its single flight alive.
                let joined = || inner.upgrade().map_or(0, |inner| inner.joined.load(SeqCst));
                yield_now().await;
                while joined() < many {
                    yield_now().await;
                }
                let number = finish(work.number);
                work.counts.finished.fetch_add(1, SeqCst);
                number
            };
            work.boxed()
        })
    }

    pub(super) fn started(&self) -> usize {
        self.0.counts.started.load(SeqCst)
    }

    pub(super) fn finished(&self) -> usize {
        self.0.counts.finished.load(SeqCst)
    }

    /// Waits until no execution is in flight and all are dropped: a task that is being polled is dropped after that.
    pub(super) fn wait_until_idle(&self) {
        let dropped = || self.0.counts.dropped.load(SeqCst);
        while dropped() < self.started() || self.0.flights.len() > 0 {
            pause();
        }
    }

    /// Asserts how many executions were started and finished, once it is idle. The others were dropped.
    pub(super) fn assert_idle(&self, started: usize, finished: usize) {
        self.wait_until_idle();
        assert_eq!((self.started(), self.finished()), (started, finished));
    }
}

/// Work from its start until it is dropped.
struct Running {
    counts: Arc<Counts>,
    number: usize,
}

impl Running {
    fn start(counts: &Arc<Counts>) -> Self {
        Self {
            number: counts.started.fetch_add(1, SeqCst) + 1,
            counts: Arc::clone(counts),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Lets other threads run meanwhile.
        pause();
        self.counts.dropped.fetch_add(1, SeqCst);
    }
}

/// Polls the work at most `polls` times; then drops it.
pub(super) async fn poll_at_most<T>(mut polls: usize, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    std::future::poll_fn(|context| {
        if polls == usize::MAX {
            return work.poll_unpin(context).map(Some);
        }
        let Some(remaining) = polls.checked_sub(1) else {
            return Poll::Ready(None);
        };
        polls = remaining;
        context.waker().wake_by_ref();
        work.poll_unpin(context).map(Some)
    })
    .await
}
