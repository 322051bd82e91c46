//! Concurrent callers with the same key share one execution and its result, including a failure.
#[cfg(test)]
mod tests;

use crate::acquire::Progress;
use crate::sync::{AbortHandle, JoinError, Mutex, MutexGuard, is_panic, spawn};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use std::collections::HashMap;
use std::future::poll_fn;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::{Arc, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use tracing::instrument::{Instrument as _, WithSubscriber as _};

/// The executions in flight, by key.
#[derive(Clone)]
pub(crate) struct SingleFlight<K, V>(Arc<InFlightMap<K, V>>);

struct InFlightMap<K, V>(Mutex<HashMap<K, Entry<V>>>);

struct Entry<V> {
    execution: Weak<Execution<V>>,
    progress: Arc<Progress>,
}

/// A caller of an execution. The execution is a task on the runtime of the caller that started it. It is cancelled when its last
/// waiter is dropped. If it panics, all waiters panic.
///
/// If the runtime of an execution is shut down or no longer driven, waiters on other runtimes start the next execution.
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
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(crate) fn join(
        &self,
        key: &K,
        start: impl Fn(Arc<Progress>) -> BoxFuture<'static, V> + Send + 'static,
    ) -> Waiter<V> {
        let execution = self.execution(key, &start);
        let progress = Arc::<Progress>::default();
        progress.begin_nested(&execution.progress);
        let work = self
            .clone()
            .wait(key.clone(), execution, Arc::clone(&progress), start);
        Waiter {
            work: work.boxed(),
            progress,
        }
    }

    /// Waits for the end of an execution, and of the next one if this one was cancelled.
    async fn wait(
        self,
        key: K,
        mut execution: Arc<Execution<V>>,
        progress: Arc<Progress>,
        start: impl Fn(Arc<Progress>) -> BoxFuture<'static, V> + Send + 'static,
    ) -> V {
        loop {
            let outcome = execution.outcome().await;
            progress.end_nested();
            match outcome {
                Outcome::Returned(value) => return value,
                // The panic was reported where it happened.
                Outcome::Panicked => resume_unwind(Box::new(PANICKED)),
                Outcome::Cancelled => {
                    self.0.remove(&key, &execution.progress);
                    // Panics, as any timer, if the current runtime is shut down: nothing can be started on it.
                    sleep(Duration::ZERO).await;
                    execution = self.execution(&key, &start);
                    progress.begin_nested(&execution.progress);
                }
            }
        }
    }

    /// The execution of a key. It is started if there is none.
    fn execution(
        &self,
        key: &K,
        start: &impl Fn(Arc<Progress>) -> BoxFuture<'static, V>,
    ) -> Arc<Execution<V>> {
        let runtime = Handle::current();
        let mut entries = self.0.lock();
        let entry = entries.get(key);
        // One that is being dropped is replaced.
        if let Some(execution) = entry.and_then(|entry| entry.execution.upgrade()) {
            return execution;
        }
        let progress = Arc::<Progress>::default();
        let work = start(Arc::clone(&progress));
        let remove_on_drop = RemoveOnDrop {
            map: Arc::downgrade(&self.0),
            key: key.clone(),
            progress: Arc::clone(&progress),
        };
        let work = async move {
            let result = AssertUnwindSafe(work).catch_unwind().await;
            drop(remove_on_drop);
            result.map_or(Outcome::Panicked, Outcome::Returned)
        };
        let execution = Execution::spawn(work.boxed(), Arc::clone(&progress), runtime);
        let execution = Arc::new(execution);
        let entry = Entry {
            execution: Arc::downgrade(&execution),
            progress,
        };
        entries.insert(key.clone(), entry);
        execution
    }

    /// The number of executions in flight.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }
}

impl<K, V> Default for SingleFlight<K, V> {
    fn default() -> Self {
        Self(Arc::new(InFlightMap(Mutex::new(HashMap::new()))))
    }
}

impl<K, V> InFlightMap<K, V> {
    fn lock(&self) -> MutexGuard<'_, HashMap<K, Entry<V>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash, V> InFlightMap<K, V> {
    /// Removes the execution with this progress, if it is still the one of its key.
    fn remove(&self, key: &K, progress: &Arc<Progress>) {
        let mut entries = self.lock();
        let entry = entries.get(key);
        if entry.is_some_and(|entry| Arc::ptr_eq(&entry.progress, progress)) {
            entries.remove(key);
        }
    }
}

/// One execution, shared by its waiters.
struct Execution<V> {
    work: Arc<Work<V>>,
    task: AbortHandle,
    outcome: Shared<BoxFuture<'static, Outcome<V>>>,
    progress: Arc<Progress>,
    runtime: Handle,
}

/// The work is not owned by its task, so that it can be dropped while the runtime of the task is not driven: it may hold locks.
type Work<V> = Mutex<Option<BoxFuture<'static, Outcome<V>>>>;

/// How an execution ended.
#[derive(Clone)]
enum Outcome<V> {
    Returned(V),
    Panicked,
    /// Its runtime was shut down, or was no longer driven.
    Cancelled,
}

impl<V> Outcome<V> {
    /// A task that was aborted, or panicked outside of its work.
    fn of_failed(error: &JoinError) -> Self {
        if is_panic(error) {
            Self::Panicked
        } else {
            Self::Cancelled
        }
    }
}

impl<V: Clone + Send + Sync + 'static> Execution<V> {
    /// Spawns the work on the current runtime.
    fn spawn(
        work: BoxFuture<'static, Outcome<V>>,
        progress: Arc<Progress>,
        runtime: Handle,
    ) -> Self {
        let work = Arc::new(Mutex::new(Some(work)));
        let polled = Arc::clone(&work);
        let task = poll_fn(move |context| {
            match &mut *polled.lock().unwrap_or_else(PoisonError::into_inner) {
                Some(work) => work.poll_unpin(context),
                None => Poll::Ready(Outcome::Cancelled),
            }
        });
        let task = spawn(task.in_current_span().with_current_subscriber());
        Self {
            work,
            task: task.abort_handle(),
            outcome: task
                .map(|ended| ended.unwrap_or_else(|error| Outcome::of_failed(&error)))
                .boxed()
                .shared(),
            progress,
            runtime,
        }
    }

    /// How it ended; on another runtime than its own, also that its own no longer runs its tasks.
    async fn outcome(&self) -> Outcome<V> {
        let outcome = self.outcome.clone();
        if self.runtime.id() == Handle::current().id() {
            return outcome.await;
        }
        tokio::pin!(outcome);
        loop {
            tokio::select! {
                biased;
                outcome = &mut outcome => return outcome,
                () = wait_until_stalled(&self.runtime) => {}
            }
            if self.cancel() {
                return Outcome::Cancelled;
            }
            // The work is being polled: its runtime is busy, and still drives it.
            sleep(PROBE_INTERVAL).await;
        }
    }
}

impl<V> Execution<V> {
    /// Drops the work and ends its task, unless the work is being polled. Returns whether it did.
    fn cancel(&self) -> bool {
        let Ok(mut work) = self.work.try_lock() else {
            return false;
        };
        self.task.abort();
        let cancelled = work.take();
        drop(work);
        drop(cancelled);
        true
    }
}

impl<V> Drop for Execution<V> {
    fn drop(&mut self) {
        // Its task drops work that is being polled.
        self.task.abort();
        self.cancel();
    }
}

/// Returns when a runtime does not run its tasks: it is shut down or not driven, as a current-thread runtime between two calls of
/// `block_on`.
async fn wait_until_stalled(runtime: &Handle) {
    loop {
        let mut probe = runtime.spawn(async {});
        if !matches!(timeout(STALL_TIMEOUT, &mut probe).await, Ok(Ok(()))) {
            probe.abort();
            return;
        }
        sleep(PROBE_INTERVAL).await;
    }
}

/// Removes the entry of an execution when dropped.
struct RemoveOnDrop<K: Eq + Hash, V> {
    map: Weak<InFlightMap<K, V>>,
    key: K,
    progress: Arc<Progress>,
}

impl<K: Eq + Hash, V> Drop for RemoveOnDrop<K, V> {
    fn drop(&mut self) {
        if let Some(map) = self.map.upgrade() {
            map.remove(&self.key, &self.progress);
        }
    }
}

const PANICKED: &str = "the shared execution panicked";
/// Between two probes of another runtime.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// A runtime that is busy for longer counts as stalled: its execution is then started again on another one.
const STALL_TIMEOUT: Duration = Duration::from_secs(2);
