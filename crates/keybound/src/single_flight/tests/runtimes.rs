//! Callers on several runtimes. One of them is shut down, or is not driven, while an execution runs on it.
use super::super::{SingleFlight, Waiter};
use futures_util::future::join_all;
use futures_util::{FutureExt as _, poll};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Id, Runtime};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

#[tokio::test]
async fn callers_on_several_runtimes_share_one_execution_on_that_of_the_first() {
    let (counted, other) = (Counted::default(), current_thread());
    let first = counted.join_on(&other, SHORT).work;
    let here = counted.join(SHORT).work;
    let expected = (1, other.handle().id());
    // Only now does the execution run: it cannot end before both have joined.
    let first = thread::spawn(move || other.block_on(first));
    assert_eq!(here.await, expected);
    assert_eq!(first.join().unwrap(), expected);
    assert_eq!(counted.started(), 1);
}

#[tokio::test]
async fn waiters_on_other_runtimes_share_the_next_execution_after_a_shutdown() {
    for other in [current_thread(), multi_thread()] {
        let counted = Counted::default();
        other.spawn(counted.join_on(&other, LONG).work);
        let mut waiting: Vec<_> = (0..3).map(|_| counted.join(SHORT).work).collect();
        for waiter in &mut waiting {
            assert!(poll!(waiter).is_pending());
        }
        let started = Instant::now();
        other.shutdown_background();
        for result in join_all(waiting).await {
            assert_eq!(result, (2, Handle::current().id()));
        }
        assert!(started.elapsed() < LONG);
        assert_eq!((counted.started(), counted.flights.len()), (2, 0));
    }
}

#[tokio::test]
async fn execution_on_a_runtime_that_was_shut_down_is_replaced() {
    let (counted, other) = (Counted::default(), current_thread());
    // The waiter outlives the runtime.
    let waiter = counted.join_on(&other, LONG);
    other.shutdown_background();
    assert_eq!(counted.join(Duration::ZERO).work.await.0, 2);
    drop(waiter);
}

#[tokio::test(start_paused = true)]
async fn execution_on_a_runtime_that_is_not_driven_is_replaced() {
    let (counted, other) = (Counted::default(), current_thread());
    let stalled = other.spawn(counted.join_on(&other, Duration::ZERO).work);
    let started = Instant::now();
    let waiter = counted.join(Duration::ZERO);
    assert_eq!(waiter.work.await, (2, Handle::current().id()));
    assert!(started.elapsed() < Duration::from_secs(10));
    other.shutdown_background();
    assert!(stalled.await.unwrap_err().is_cancelled());
    assert_eq!(counted.flights.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn cancelled_execution_releases_its_locks_while_its_runtime_is_not_driven() {
    for last_waiter_leaves in [true, false] {
        let (flights, other) = (SingleFlight::<&str, Id>::default(), current_thread());
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        let join = || {
            let lock = Arc::clone(&lock);
            let waiter = flights.join(&"key", move |_| {
                let lock = Arc::clone(&lock);
                let work = async move {
                    let _guard = lock.lock().await;
                    sleep(SHORT).await;
                    Handle::current().id()
                };
                work.boxed()
            });
            waiter.work
        };
        let waiter = {
            let _entered = other.enter();
            join()
        };
        thread::scope(|scope| scope.spawn(|| other.block_on(yield_now())).join()).unwrap();
        assert!(lock.try_lock().is_err());
        if last_waiter_leaves {
            drop(waiter);
            assert!(lock.try_lock().is_ok());
        } else {
            assert_eq!(join().await, Handle::current().id());
        }
        other.shutdown_background();
    }
}

/// A single flight whose executions return their number and the runtime on which they ran.
#[derive(Default)]
struct Counted {
    flights: SingleFlight<&'static str, (usize, Id)>,
    started: Arc<AtomicUsize>,
}

impl Counted {
    /// Joins the execution, or starts one of this duration.
    fn join(&self, duration: Duration) -> Waiter<(usize, Id)> {
        let started = Arc::clone(&self.started);
        self.flights.join(&"key", move |_| {
            let number = started.fetch_add(1, SeqCst) + 1;
            let work = async move {
                sleep(duration).await;
                (number, Handle::current().id())
            };
            work.boxed()
        })
    }

    /// Like [`join`](Self::join), on a runtime.
    fn join_on(&self, runtime: &Runtime, duration: Duration) -> Waiter<(usize, Id)> {
        let _entered = runtime.enter();
        self.join(duration)
    }

    fn started(&self) -> usize {
        self.started.load(SeqCst)
    }
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn multi_thread() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
}

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(3600);
