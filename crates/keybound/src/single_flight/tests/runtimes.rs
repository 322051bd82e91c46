//! Callers on several runtimes, of which one ends or is not driven while an execution that was started on it is in flight.
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
async fn callers_on_several_runtimes_share_one_execution() {
    let (counted, there) = (Counted::default(), several_threads());
    let waiting = there.spawn(counted.join_on(&there, A_WHILE).work);
    let here = counted.join(LONG).work.await;
    assert_eq!(here, waiting.await.unwrap());
    assert_eq!(counted.begun(), 1);
    there.shutdown_background();
}

#[tokio::test]
async fn what_an_execution_opens_belongs_to_its_own_runtime() {
    let (counted, there) = (Counted::default(), several_threads());
    let begun = counted.join_on(&there, Duration::ZERO);
    let (number, ran_on) = counted.join(LONG).work.await;
    assert_eq!((number, ran_on), (1, there.handle().id()));
    drop(begun);
    there.shutdown_background();
}

#[tokio::test]
async fn when_the_runtime_of_an_execution_ends_waiters_elsewhere_share_the_next_one() {
    for there in [one_thread(), several_threads()] {
        let counted = Counted::default();
        there.spawn(counted.join_on(&there, LONG).work);
        let mut waiting: Vec<_> = (0..3).map(|_| counted.join(A_WHILE).work).collect();
        for waiter in &mut waiting {
            assert!(poll!(waiter).is_pending());
        }
        let begun = Instant::now();
        there.shutdown_background();
        for result in join_all(waiting).await {
            assert_eq!(result, (2, Handle::current().id()));
        }
        assert!(begun.elapsed() < LONG);
        assert_eq!((counted.begun(), counted.flights.len()), (2, 0));
    }
}

#[tokio::test]
async fn an_execution_whose_runtime_has_ended_is_soon_replaced() {
    let (counted, there) = (Counted::default(), one_thread());
    // Its waiter outlives the runtime.
    let waiter = counted.join_on(&there, LONG);
    there.shutdown_background();
    assert_eq!(counted.join(Duration::ZERO).work.await.0, 2);
    drop(waiter);
}

#[tokio::test(start_paused = true)]
async fn an_execution_whose_runtime_is_not_driven_is_started_again_elsewhere() {
    let (counted, there) = (Counted::default(), one_thread());
    let left = there.spawn(counted.join_on(&there, Duration::ZERO).work);
    let begun = Instant::now();
    let waiter = counted.join(Duration::ZERO);
    assert_eq!(waiter.work.await, (2, Handle::current().id()));
    assert!(begun.elapsed() < Duration::from_secs(10));
    there.shutdown_background();
    assert!(left.await.unwrap_err().is_cancelled());
    assert_eq!(counted.flights.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_execution_releases_its_locks_although_its_runtime_is_not_driven() {
    for last_waiter_leaves in [true, false] {
        let (flights, there) = (SingleFlight::<&str, Id>::default(), one_thread());
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        let join = || {
            let lock = Arc::clone(&lock);
            let waiter = flights.join(&"key", move |_| {
                let lock = Arc::clone(&lock);
                let work = async move {
                    let _guard = lock.lock().await;
                    sleep(A_WHILE).await;
                    Handle::current().id()
                };
                work.boxed()
            });
            waiter.work
        };
        let waiter = {
            let _entered = there.enter();
            join()
        };
        thread::scope(|scope| scope.spawn(|| there.block_on(yield_now())).join()).unwrap();
        assert!(lock.try_lock().is_err());
        if last_waiter_leaves {
            drop(waiter);
            assert!(lock.try_lock().is_ok());
        } else {
            assert_eq!(join().await, Handle::current().id());
        }
        there.shutdown_background();
    }
}

/// A single flight whose executions return their number and the runtime that they ran on.
#[derive(Default)]
struct Counted {
    flights: SingleFlight<&'static str, (usize, Id)>,
    begun: Arc<AtomicUsize>,
}

impl Counted {
    /// Joins the execution, or starts one that lasts for so long.
    fn join(&self, lasts: Duration) -> Waiter<(usize, Id)> {
        let begun = Arc::clone(&self.begun);
        self.flights.join(&"key", move |_| {
            let number = begun.fetch_add(1, SeqCst) + 1;
            let work = async move {
                sleep(lasts).await;
                (number, Handle::current().id())
            };
            work.boxed()
        })
    }

    /// The same, on this runtime.
    fn join_on(&self, runtime: &Runtime, lasts: Duration) -> Waiter<(usize, Id)> {
        let _within = runtime.enter();
        self.join(lasts)
    }

    fn begun(&self) -> usize {
        self.begun.load(SeqCst)
    }
}

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn several_threads() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
}

const A_WHILE: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(3600);
