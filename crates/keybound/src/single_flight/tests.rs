//! The guarantees of a single flight, for every interleaving of its callers. Each scenario runs on threads; with `--cfg shuttle`,
//! thousands of schedules of it are explored.
mod counting_flight;
#[cfg_attr(shuttle, path = "tests/explored.rs")]
#[cfg_attr(not(shuttle), path = "tests/threads.rs")]
mod executor;
// Uses several tokio runtimes.
#[cfg(not(shuttle))]
mod runtimes;

use super::SingleFlight;
use counting_flight::{CountingFlight, poll_at_most};
use executor::{block_on, chance, check, pause, spawn, yield_now};
use futures_util::FutureExt as _;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

#[test]
fn callers_of_one_key_share_one_execution() {
    check(|| {
        let flight = CountingFlight::new();
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let flight = flight.clone();
                spawn(move || block_on(flight.join("key", CALLERS).work))
            })
            .collect();
        for caller in callers {
            assert_eq!(caller.join().unwrap(), 1);
        }
        flight.assert_idle(1, 1);
    });
}

#[test]
fn dropped_waiters_do_not_cancel_the_execution_of_others() {
    check(|| {
        let flight = CountingFlight::new();
        let staying = flight.join("key", CALLERS);
        let dropped: Vec<_> = (1..CALLERS)
            .map(|_| {
                let (flight, polls) = (flight.clone(), chance(5));
                spawn(move || {
                    let waiter = flight.join("key", CALLERS);
                    block_on(poll_at_most(polls, waiter.work))
                })
            })
            .collect();
        assert_eq!(block_on(staying.work), 1);
        for caller in dropped {
            assert!(matches!(caller.join().unwrap(), None | Some(1)));
        }
        flight.assert_idle(1, 1);
    });
}

#[test]
fn dropping_the_last_waiter_cancels_the_execution() {
    check(|| {
        let flight = CountingFlight::new();
        let dropped: Vec<_> = (0..CALLERS)
            .map(|_| {
                let (flight, polls) = (flight.clone(), chance(4));
                // There are never enough callers for the execution to finish.
                spawn(move || block_on(poll_at_most(polls, flight.join("key", usize::MAX).work)))
            })
            .collect();
        for caller in dropped {
            assert_eq!(caller.join().unwrap(), None);
        }
        let started = flight.started();
        flight.assert_idle(started, 0);
        assert_eq!(block_on(flight.join("key", 0).work), started + 1);
        flight.assert_idle(started + 1, 1);
    });
}

#[test]
fn cancelled_execution_removes_only_its_own_entry() {
    check(|| {
        let flight = CountingFlight::new();
        let dropped = {
            let (flight, polls) = (flight.clone(), chance(3));
            spawn(move || block_on(poll_at_most(polls, flight.join_uncounted("key", 2).work)))
        };
        let staying: Vec<_> = (0..2)
            .map(|_| {
                let flight = flight.clone();
                spawn(move || block_on(flight.join("key", 2).work))
            })
            .collect();
        let results: Vec<_> = staying
            .into_iter()
            .map(|caller| caller.join().unwrap())
            .collect();
        dropped.join().unwrap();
        assert_eq!(results[0], results[1]);
        flight.wait_until_idle();
    });
}

#[test]
fn callers_never_get_a_result_from_before_they_joined() {
    check(|| {
        let flight = CountingFlight::new();
        let result = Arc::new(AtomicUsize::new(0));
        let callers: Vec<_> = (0..3)
            .map(|_| {
                let (flight, result) = (flight.clone(), Arc::clone(&result));
                spawn(move || {
                    for _ in 0..3 {
                        let before = result.load(SeqCst);
                        let work = flight.join("key", 0).work;
                        let Some(value) = block_on(poll_at_most(chance(8), work)) else {
                            continue;
                        };
                        assert!(value > before, "{value} was the result before {before}");
                        result.fetch_max(value, SeqCst);
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.join().unwrap();
        }
        flight.wait_until_idle();
    });
}

#[test]
fn panic_reaches_all_waiters_and_frees_the_key() {
    check(|| {
        let flight = CountingFlight::new();
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let flight = flight.clone();
                spawn(move || {
                    let waiter = flight.join_panicking("key", CALLERS);
                    block_on(AssertUnwindSafe(waiter.work).catch_unwind()).is_err()
                })
            })
            .collect();
        for caller in callers {
            assert!(caller.join().unwrap());
        }
        assert_eq!(block_on(flight.join("key", 0).work), 2);
        flight.assert_idle(2, 1);
    });
}

#[test]
fn different_keys_run_independently() {
    check(|| {
        let flight = CountingFlight::new();
        // The slow one finishes only when it is joined again, after the others have finished.
        let slow = flight.join("slow", 4);
        let fast: Vec<_> = ["a", "b"]
            .map(|key| {
                let flight = flight.clone();
                spawn(move || block_on(flight.join(key, 0).work))
            })
            .into_iter()
            .collect();
        let waiting = spawn(move || block_on(slow.work));
        for caller in fast {
            caller.join().unwrap();
        }
        block_on(flight.join("slow", 4).work);
        waiting.join().unwrap();
        flight.assert_idle(3, 3);
    });
}

#[test]
fn nested_single_flights_neither_deadlock_nor_repeat() {
    check(|| {
        let inner = CountingFlight::new();
        let outer = SingleFlight::<&str, usize>::default();
        let outer = Arc::new(outer);
        let held = inner.join("certificate", 0);
        let callers: Vec<_> = ["vault", "graph", "vault", "graph"]
            .into_iter()
            .map(|key| {
                let (inner, outer) = (inner.clone(), Arc::clone(&outer));
                let polls = if chance(2) == 0 {
                    usize::MAX
                } else {
                    chance(6)
                };
                let call = async move {
                    let waiter = outer.join(&key, move |_| {
                        let inner = inner.clone();
                        let work = async move {
                            yield_now().await;
                            inner.join("certificate", 0).work.await
                        };
                        work.boxed()
                    });
                    poll_at_most(polls, waiter.work).await
                };
                spawn(move || {
                    let result = block_on(call);
                    assert!(result.is_some() || polls < usize::MAX);
                })
            })
            .collect();
        assert!(block_on(held.work) > 0);
        for caller in callers {
            caller.join().unwrap();
        }
        // A task that is being polled is dropped after that.
        while outer.len() > 0 {
            pause();
        }
        inner.wait_until_idle();
    });
}

const CALLERS: usize = 4;
