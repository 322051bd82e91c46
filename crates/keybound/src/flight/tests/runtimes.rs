//! Callers on several runtimes, of which one ends or rests while a flight that was begun on it is under way.
use super::super::{Flights, Seat};
use futures_util::future::join_all;
use futures_util::{FutureExt as _, poll};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Id, Runtime};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

#[tokio::test]
async fn callers_on_several_runtimes_share_one_flight() {
    let (board, there) = (Board::default(), several_threads());
    let waiting = there.spawn(board.join_on(&there, A_WHILE).work);
    let here = board.join(LONG).work.await;
    assert_eq!(here, waiting.await.unwrap());
    assert_eq!(board.begun(), 1);
    there.shutdown_background();
}

#[tokio::test]
async fn what_a_flight_opens_is_of_its_own_runtime_whoever_drives_it() {
    let (board, there) = (Board::default(), several_threads());
    let begun = board.join_on(&there, Duration::ZERO);
    let (number, ran_on) = board.join(LONG).work.await;
    assert_eq!((number, ran_on), (1, there.handle().id()));
    drop(begun);
    there.shutdown_background();
}

#[tokio::test]
async fn where_the_runtime_of_a_flight_ends_those_who_wait_elsewhere_share_the_next_one() {
    for there in [one_thread(), several_threads()] {
        let board = Board::default();
        there.spawn(board.join_on(&there, LONG).work);
        let mut waiting: Vec<_> = (0..3).map(|_| board.join(A_WHILE).work).collect();
        for seat in &mut waiting {
            assert!(poll!(seat).is_pending());
        }
        let begun = Instant::now();
        there.shutdown_background();
        for told in join_all(waiting).await {
            assert_eq!(told, (2, Handle::current().id()));
        }
        assert!(begun.elapsed() < LONG);
        assert_eq!((board.begun(), board.flights.len()), (2, 0));
    }
}

#[tokio::test]
async fn a_flight_whose_runtime_has_ended_is_not_joined_for_long() {
    let (board, there) = (Board::default(), one_thread());
    // Its seat outlives the runtime.
    let seat = board.join_on(&there, LONG);
    there.shutdown_background();
    assert_eq!(board.join(Duration::ZERO).work.await.0, 2);
    drop(seat);
}

#[tokio::test(start_paused = true)]
async fn a_flight_whose_runtime_nobody_drives_is_begun_anew_elsewhere() {
    let (board, there) = (Board::default(), one_thread());
    let left = there.spawn(board.join_on(&there, Duration::ZERO).work);
    let begun = Instant::now();
    let seat = board.join(Duration::ZERO);
    assert_eq!(seat.work.await, (2, Handle::current().id()));
    assert!(begun.elapsed() < Duration::from_secs(10));
    there.shutdown_background();
    assert!(left.await.unwrap_err().is_cancelled());
    assert_eq!(board.flights.len(), 0);
}

#[tokio::test]
async fn a_flight_within_a_flight_is_not_believed_either_once_their_runtime_has_ended() {
    let there = Arc::new(Mutex::new(Some(one_thread())));
    let outer = Flights::<&'static str, usize, ()>::default();
    let inner = Arc::new(Flights::<&'static str, usize, ()>::default());
    let begun = Arc::new(AtomicUsize::new(0));
    let join_inner = {
        let there = Arc::clone(&there);
        move || {
            let (there, begun) = (Arc::clone(&there), Arc::clone(&begun));
            inner.join(&"certificate", move || {
                let (there, number) = (Arc::clone(&there), begun.fetch_add(1, SeqCst) + 1);
                let work = async move {
                    yield_now().await;
                    if let Some(ending) = there.lock().unwrap().take() {
                        ending.shutdown_background();
                    }
                    // Timers of a runtime that has ended panic.
                    sleep(Duration::ZERO).await;
                    number
                };
                (Arc::new(()), work.boxed())
            })
        }
    };
    let seat = {
        let home = there.lock().unwrap().as_ref().unwrap().handle().clone();
        let _within = home.enter();
        let join_inner = join_inner.clone();
        outer.join(&"token", move || {
            let join_inner = join_inner.clone();
            let work = async move { join_inner().work.await };
            (Arc::new(()), work.boxed())
        })
    };
    let mut through = seat.work;
    assert!(poll!(&mut through).is_pending());
    // One who waits for the inner flight itself, and is not the one to drive it to its end.
    let direct = join_inner().work;
    assert_eq!(through.await, 2);
    assert!(direct.await >= 2);
}

/// A board whose works yield their number and the runtime that they ran on.
#[derive(Default)]
struct Board {
    flights: Flights<&'static str, (usize, Id), ()>,
    begun: Arc<AtomicUsize>,
}

impl Board {
    /// Joins work, or begins one that lasts for so long.
    fn join(&self, lasts: Duration) -> Seat<(usize, Id), ()> {
        let begun = Arc::clone(&self.begun);
        self.flights.join(&"key", move || {
            let number = begun.fetch_add(1, SeqCst) + 1;
            let work = async move {
                sleep(lasts).await;
                (number, Handle::current().id())
            };
            (Arc::new(()), work.boxed())
        })
    }

    /// The same, on this runtime.
    fn join_on(&self, runtime: &Runtime, lasts: Duration) -> Seat<(usize, Id), ()> {
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
