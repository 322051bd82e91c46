//! One flight for each key: callers who want the same at once share one attempt, and its failure.
mod home;
#[cfg(test)]
mod tests;

use crate::sync::{Mutex, MutexGuard};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use home::Home;
use std::collections::HashMap;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::{Arc, PoisonError, Weak};

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
    home: Home,
}

/// What is done in a flight.
type Work<V> = BoxFuture<'static, End<V>>;

/// How a flight ended.
#[derive(Clone)]
pub(crate) enum End<V> {
    Told(V),
    Panicked,
    /// Its runtime ended before it did.
    Stranded,
}

/// A place in a flight. The flight goes on while anybody has one, driven by whoever waits; with the last one gone it is
/// given up. It panics where the flight did: for all who wait, not just for the one who drove it.
///
/// A flight's sockets and timers belong to the runtime on which it was begun. Where that one ends or is not driven any
/// more, those who wait on others take the next flight.
pub(crate) struct Seat<V, P> {
    pub(crate) work: BoxFuture<'static, V>,
    pub(crate) progress: Arc<P>,
}

/// What can be seen of a flight while it lasts.
pub(crate) trait Watched: Default + Send + Sync + 'static {
    /// Shows this flight until it is left.
    fn follow(&self, flight: &Arc<Self>);

    /// What was shown of it is kept.
    fn leave(&self);
}

impl<K, V, P> Flights<K, V, P>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    P: Watched,
{
    /// Joins the flight for a key, or starts one.
    pub(crate) fn join(
        &self,
        key: &K,
        start: impl Fn() -> (Arc<P>, BoxFuture<'static, V>) + Send + 'static,
    ) -> Seat<V, P> {
        let place = self.place(key, &start);
        let progress = if place.home.is_here() {
            Arc::clone(&place.progress)
        } else {
            let progress = Arc::<P>::default();
            progress.follow(&place.progress);
            progress
        };
        let work = self
            .clone()
            .ride(key.clone(), place, Arc::clone(&progress), start);
        Seat {
            work: work.boxed(),
            progress,
        }
    }

    /// Waits for the end of a flight; and of the next one, where this one is stranded.
    async fn ride(
        self,
        key: K,
        mut place: Place<V, P>,
        progress: Arc<P>,
        start: impl Fn() -> (Arc<P>, BoxFuture<'static, V>) + Send + 'static,
    ) -> V {
        loop {
            let end = place.end().await;
            if !Arc::ptr_eq(&progress, &place.progress) {
                progress.leave();
            }
            match end {
                End::Told(value) => return value,
                // It has been told once, where it happened.
                End::Panicked => resume_unwind(Box::new(PANICKED)),
                End::Stranded => {
                    self.0.strike(&key, place.number);
                    Home::lives().await;
                    place = self.place(&key, &start);
                    progress.follow(&place.progress);
                }
            }
        }
    }

    fn place(&self, key: &K, start: &impl Fn() -> (Arc<P>, BoxFuture<'static, V>)) -> Place<V, P> {
        let mut listed = self.0.lock();
        if let Some(place) = listed.flights.get(key).and_then(Entry::place) {
            return place;
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
            let ended = AssertUnwindSafe(work).catch_unwind().await;
            ended.map_or(End::Panicked, End::Told)
        };
        let home = Home::here();
        let work = home.clone().keep(work).boxed().shared();
        let entry = Entry {
            work: work
                .downgrade()
                .expect("the flight has not ended: it has not begun"),
            progress: Arc::clone(&progress),
            number,
            home: home.clone(),
        };
        // An entry that is replaced has ended; nothing of it is run here.
        listed.flights.insert(key.clone(), entry);
        Place {
            work,
            progress,
            number,
            home,
        }
    }

    /// How many are under way.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.lock().flights.len()
    }
}

impl<K, V, P> Clone for Flights<K, V, P> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
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

impl<K: Eq + Hash, V, P> Board<K, V, P> {
    /// Takes a flight off, if it is still the one that is listed.
    fn strike(&self, key: &K, number: u64) {
        let mut listed = self.lock();
        if listed
            .flights
            .get(key)
            .is_some_and(|entry| entry.number == number)
        {
            listed.flights.remove(key);
        }
    }
}

impl<V: Clone, P> Entry<V, P> {
    /// A place, unless the flight is being given up. One that has ended is not listed any more.
    fn place(&self) -> Option<Place<V, P>> {
        Some(Place {
            work: self.work.upgrade()?,
            progress: Arc::clone(&self.progress),
            number: self.number,
            home: self.home.clone(),
        })
    }
}

/// A place in one flight.
struct Place<V: Clone, P> {
    work: Shared<Work<V>>,
    progress: Arc<P>,
    number: u64,
    home: Home,
}

impl<V: Clone, P> Place<V, P> {
    /// How the flight ended, as far as this place sees it.
    async fn end(&mut self) -> End<V> {
        if self.home.is_here() {
            return (&mut self.work).await;
        }
        tokio::select! {
            biased;
            end = &mut self.work => end,
            () = self.home.stands_still() => End::Stranded,
        }
    }
}

/// Takes a flight off the board when dropped.
struct Listing<K: Eq + Hash, V, P> {
    board: Weak<Board<K, V, P>>,
    key: K,
    number: u64,
}

impl<K: Eq + Hash, V, P> Drop for Listing<K, V, P> {
    fn drop(&mut self) {
        if let Some(board) = self.board.upgrade() {
            board.strike(&self.key, self.number);
        }
    }
}

const PANICKED: &str = "what was waited for panicked";
