//! A single flight with executions that are counted.
use super::place::{pause, yield_now};
use crate::single_flight::{SingleFlight, Waiter};
use futures_util::FutureExt as _;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Weak};
use std::task::Poll;

/// A single flight whose executions return their number, counted up from 1.
#[derive(Clone)]
pub(super) struct Bench(Arc<Inner>);

struct Inner {
    flights: SingleFlight<&'static str, usize>,
    joined: AtomicUsize,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    begun: AtomicUsize,
    ended: AtomicUsize,
    dropped: AtomicUsize,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self(Arc::new(Inner {
            flights: SingleFlight::default(),
            joined: AtomicUsize::new(0),
            counts: Arc::default(),
        }))
    }

    /// Joins work that does not end before so many have joined.
    pub(super) fn join(&self, key: &'static str, many: usize) -> Waiter<usize> {
        let waiter = self.join_uncounted(key, many);
        self.0.joined.fetch_add(1, SeqCst);
        waiter
    }

    /// The same, by a caller that the execution does not wait for.
    pub(super) fn join_uncounted(&self, key: &'static str, many: usize) -> Waiter<usize> {
        self.join_to(key, many, |number| number)
    }

    /// Joins work that then panics.
    pub(super) fn join_panicking(&self, key: &'static str, many: usize) -> Waiter<usize> {
        // Without the message of an ordinary panic.
        let waiter = self.join_to(key, many, |_| std::panic::resume_unwind(Box::new(())));
        self.0.joined.fetch_add(1, SeqCst);
        waiter
    }

    fn join_to(&self, key: &'static str, many: usize, end: fn(usize) -> usize) -> Waiter<usize> {
        let inner = Arc::downgrade(&self.0);
        let counts = Arc::clone(&self.0.counts);
        self.0.flights.join(&key, move |_| {
            let work = Underway::begin(&counts);
            let inner = Weak::clone(&inner);
            let work = async move {
                // The execution does not keep its single flight alive.
                let joined = || inner.upgrade().map_or(0, |inner| inner.joined.load(SeqCst));
                yield_now().await;
                while joined() < many {
                    yield_now().await;
                }
                let number = end(work.number);
                work.counts.ended.fetch_add(1, SeqCst);
                number
            };
            work.boxed()
        })
    }

    pub(super) fn begun(&self) -> usize {
        self.0.counts.begun.load(SeqCst)
    }

    pub(super) fn ended(&self) -> usize {
        self.0.counts.ended.load(SeqCst)
    }

    /// So many executions have begun, so many have ended, the others were dropped; none is in flight.
    pub(super) fn assert_quiet(&self, begun: usize, ended: usize) {
        // A task that is being polled is dropped after that.
        let dropped = || self.0.counts.dropped.load(SeqCst);
        while dropped() < self.begun() || self.0.flights.len() > 0 {
            pause();
        }
        assert_eq!(
            (self.begun(), self.ended(), dropped()),
            (begun, ended, begun)
        );
    }
}

/// Work from its beginning until nothing of it is left.
struct Underway {
    counts: Arc<Counts>,
    number: usize,
}

impl Underway {
    fn begin(counts: &Arc<Counts>) -> Self {
        Self {
            number: counts.begun.fetch_add(1, SeqCst) + 1,
            counts: Arc::clone(counts),
        }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        // Other threads run while it is being dropped.
        pause();
        self.counts.dropped.fetch_add(1, SeqCst);
    }
}

/// Polls so many times; then the work is dropped.
pub(super) async fn impatient<T>(mut patience: usize, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    std::future::poll_fn(|context| {
        if patience == usize::MAX {
            return work.poll_unpin(context).map(Some);
        }
        let Some(left) = patience.checked_sub(1) else {
            return Poll::Ready(None);
        };
        patience = left;
        context.waker().wake_by_ref();
        work.poll_unpin(context).map(Some)
    })
    .await
}
