//! One flight for each key: callers who want the same at once share one attempt, and its failure.
#[cfg(test)]
mod tests;

use crate::sync::{Mutex, MutexGuard};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use std::collections::HashMap;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, PoisonError, Weak};
use std::task::{Context, Poll};

/// Attempts under way, by key. `P` is what can be seen of one while it lasts.
pub(crate) struct Flights<K, V, P>(Arc<Board<K, V, P>>);

struct Board<K, V, P>(Mutex<Listed<K, V, P>>);

struct Listed<K, V, P> {
    flights: HashMap<K, Entry<V, P>>,
    last_number: u64,
}

struct Entry<V, P> {
    work: WeakShared<Work<V>>,
    progress: Arc<P>,
    number: u64,
}

/// What is done in a flight; nothing where it panicked.
type Work<V> = BoxFuture<'static, Option<V>>;

/// A place in a flight. The flight goes on while anybody has one, driven by whoever waits; with the last one gone it is
/// given up.
pub(crate) struct Seat<V: Clone, P> {
    pub(crate) work: Waiting<V>,
    pub(crate) progress: Arc<P>,
}

/// Waits for the end of a flight. It panics where the flight did: for all who wait, not just for the one who drove it.
pub(crate) struct Waiting<V: Clone>(Shared<Work<V>>);

impl<V: Clone> Future for Waiting<V> {
    type Output = V;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<V> {
        // It has been told once, where it happened.
        let ended = self.0.poll_unpin(context);
        ended.map(|value| value.unwrap_or_else(|| resume_unwind(Box::new(PANICKED))))
    }
}

impl<K, V, P> Flights<K, V, P>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
    P: Send + Sync + 'static,
{
    /// Joins the flight for a key, or starts one.
    pub(crate) fn join(
        &self,
        key: &K,
        start: impl FnOnce() -> (Arc<P>, BoxFuture<'static, V>),
    ) -> Seat<V, P> {
        let mut listed = self.0.lock();
        if let Some(seat) = listed.flights.get(key).and_then(Entry::seat) {
            return seat;
        }
        listed.last_number += 1;
        let number = listed.last_number;
        let (progress, work) = start();
        let listing = Listing {
            board: Arc::downgrade(&self.0),
            key: key.clone(),
            number,
        };
        let work = async move {
            // Taken off the board when it ends, and when it is given up.
            let _listing = listing;
            // A shared future that panics wakes nobody: the others would wait on.
            AssertUnwindSafe(work).catch_unwind().await.ok()
        };
        let work = work.boxed().shared();
        let entry = Entry {
            work: work
                .downgrade()
                .expect("the flight has not ended: it has not begun"),
            progress: Arc::clone(&progress),
            number,
        };
        // An entry that is replaced has ended; nothing of it is run here.
        listed.flights.insert(key.clone(), entry);
        let work = Waiting(work);
        Seat { work, progress }
    }

    /// How many are under way.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.lock().flights.len()
    }
}

impl<K, V, P> Default for Flights<K, V, P> {
    fn default() -> Self {
        Self(Arc::new(Board(Mutex::new(Listed {
            flights: HashMap::new(),
            last_number: 0,
        }))))
    }
}

impl<K, V, P> Board<K, V, P> {
    fn lock(&self) -> MutexGuard<'_, Listed<K, V, P>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V: Clone, P> Entry<V, P> {
    /// A seat, unless the flight is being given up. One that has ended is not listed any more.
    fn seat(&self) -> Option<Seat<V, P>> {
        let work = self.work.upgrade()?;
        Some(Seat {
            work: Waiting(work),
            progress: Arc::clone(&self.progress),
        })
    }
}

/// Takes a flight off the board when dropped, if it is still the one that is listed.
struct Listing<K: Eq + Hash, V, P> {
    board: Weak<Board<K, V, P>>,
    key: K,
    number: u64,
}

impl<K: Eq + Hash, V, P> Drop for Listing<K, V, P> {
    fn drop(&mut self) {
        let Some(board) = self.board.upgrade() else {
            return;
        };
        let mut listed = board.lock();
        if listed
            .flights
            .get(&self.key)
            .is_some_and(|entry| entry.number == self.number)
        {
            listed.flights.remove(&self.key);
        }
    }
}

const PANICKED: &str = "what was waited for panicked";
