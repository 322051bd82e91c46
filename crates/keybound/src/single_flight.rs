//! Concurrent callers with the same key share one execution and its result, a failure too.
mod runtime_affinity;
#[cfg(test)]
mod tests;

use crate::acquire::Progress;
use crate::sync::{Mutex, MutexGuard};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use runtime_affinity::RuntimeAffinity;
use std::collections::HashMap;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::{Arc, PoisonError, Weak};

/// The executions in flight, by key.
pub(crate) struct SingleFlight<K, V>(Arc<InFlightMap<K, V>>);

struct InFlightMap<K, V>(Mutex<Entries<K, V>>);

struct Entries<K, V> {
    by_key: HashMap<K, Entry<V>>,
    last_number: u64,
}

struct Entry<V> {
    work: WeakShared<Work<V>>,
    progress: Arc<Progress>,
    number: u64,
    runtime: RuntimeAffinity,
}

type Work<V> = BoxFuture<'static, Outcome<V>>;

/// How an execution ended.
#[derive(Clone)]
pub(crate) enum Outcome<V> {
    Returned(V),
    Panicked,
    /// Its runtime ended before it did.
    RuntimeEnded,
}

/// A caller of an execution. The execution continues while it has a waiter, and the waiters poll it; it is dropped with the
/// last one. Where it panics, all waiters panic, not only the one that polled it.
///
/// The sockets and timers of an execution belong to the runtime on which it was started. Where that runtime ends or is no
/// longer driven, waiters on other runtimes start the next execution.
pub(crate) struct Waiter<V> {
    pub(crate) work: BoxFuture<'static, V>,
    pub(crate) progress: Arc<Progress>,
}

impl<K, V> SingleFlight<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Waits for the execution of a key, or starts it; `start` gets the progress that it reports.
    pub(crate) fn join(
        &self,
        key: &K,
        start: impl Fn(Arc<Progress>) -> BoxFuture<'static, V> + Send + 'static,
    ) -> Waiter<V> {
        let execution = self.execution(key, &start);
        let progress = if execution.runtime.is_current() {
            Arc::clone(&execution.progress)
        } else {
            let progress = Arc::<Progress>::default();
            progress.begin_nested(&execution.progress);
            progress
        };
        let work = self
            .clone()
            .wait(key.clone(), execution, Arc::clone(&progress), start);
        Waiter {
            work: work.boxed(),
            progress,
        }
    }

    /// Waits for the end of an execution; and of the next one, where the runtime of this one has ended.
    async fn wait(
        self,
        key: K,
        mut execution: Execution<V>,
        progress: Arc<Progress>,
        start: impl Fn(Arc<Progress>) -> BoxFuture<'static, V> + Send + 'static,
    ) -> V {
        loop {
            let outcome = execution.outcome().await;
            if !Arc::ptr_eq(&progress, &execution.progress) {
                progress.end_nested();
            }
            match outcome {
                Outcome::Returned(value) => return value,
                // The panic was reported once, where it happened.
                Outcome::Panicked => resume_unwind(Box::new(PANICKED)),
                Outcome::RuntimeEnded => {
                    self.0.remove(&key, execution.number);
                    RuntimeAffinity::ensure_alive().await;
                    execution = self.execution(&key, &start);
                    progress.begin_nested(&execution.progress);
                }
            }
        }
    }

    fn execution(
        &self,
        key: &K,
        start: &impl Fn(Arc<Progress>) -> BoxFuture<'static, V>,
    ) -> Execution<V> {
        let mut entries = self.0.lock();
        if let Some(execution) = entries.by_key.get(key).and_then(Entry::execution) {
            return execution;
        }
        entries.last_number += 1;
        let number = entries.last_number;
        let progress = Arc::<Progress>::default();
        let work = start(Arc::clone(&progress));
        let remove_on_drop = RemoveOnDrop {
            map: Arc::downgrade(&self.0),
            key: key.clone(),
            number,
        };
        let work = async move {
            // Dropped when the execution ends, and when its last waiter is gone.
            let _remove_on_drop = remove_on_drop;
            // A shared future that panics wakes no other waiter.
            let ended = AssertUnwindSafe(work).catch_unwind().await;
            ended.map_or(Outcome::Panicked, Outcome::Returned)
        };
        let runtime = RuntimeAffinity::current();
        let work = runtime.clone().run(work).boxed().shared();
        let entry = Entry {
            work: work.downgrade().expect("it was not polled yet"),
            progress: Arc::clone(&progress),
            number,
            runtime: runtime.clone(),
        };
        // An entry that is replaced has ended: no work is dropped under the lock.
        entries.by_key.insert(key.clone(), entry);
        Execution {
            work,
            progress,
            number,
            runtime,
        }
    }

    /// The number of executions in flight.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.lock().by_key.len()
    }
}

impl<K, V> Clone for SingleFlight<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, V> Default for SingleFlight<K, V> {
    fn default() -> Self {
        Self(Arc::new(InFlightMap(Mutex::new(Entries {
            by_key: HashMap::new(),
            last_number: 0,
        }))))
    }
}

impl<K, V> InFlightMap<K, V> {
    fn lock(&self) -> MutexGuard<'_, Entries<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash, V> InFlightMap<K, V> {
    /// Removes an execution, if it is still the one of its key.
    fn remove(&self, key: &K, number: u64) {
        let mut entries = self.lock();
        if entries
            .by_key
            .get(key)
            .is_some_and(|entry| entry.number == number)
        {
            entries.by_key.remove(key);
        }
    }
}

impl<V: Clone> Entry<V> {
    /// The execution, unless it is being dropped. One that has ended has no entry.
    fn execution(&self) -> Option<Execution<V>> {
        Some(Execution {
            work: self.work.upgrade()?,
            progress: Arc::clone(&self.progress),
            number: self.number,
            runtime: self.runtime.clone(),
        })
    }
}

/// One execution, kept alive.
struct Execution<V: Clone> {
    work: Shared<Work<V>>,
    progress: Arc<Progress>,
    number: u64,
    runtime: RuntimeAffinity,
}

impl<V: Clone> Execution<V> {
    /// How it ended; on another runtime than its own, also that its own no longer drives it.
    async fn outcome(&mut self) -> Outcome<V> {
        if self.runtime.is_current() {
            return (&mut self.work).await;
        }
        tokio::select! {
            biased;
            outcome = &mut self.work => outcome,
            () = self.runtime.wait_until_stalled() => Outcome::RuntimeEnded,
        }
    }
}

/// Removes the entry of an execution when dropped.
struct RemoveOnDrop<K: Eq + Hash, V> {
    map: Weak<InFlightMap<K, V>>,
    key: K,
    number: u64,
}

impl<K: Eq + Hash, V> Drop for RemoveOnDrop<K, V> {
    fn drop(&mut self) {
        if let Some(map) = self.map.upgrade() {
            map.remove(&self.key, self.number);
        }
    }
}

const PANICKED: &str = "the shared execution panicked";
