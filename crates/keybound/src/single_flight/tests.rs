//! The guarantees of a single flight, for every order of its callers' steps. Each scenario is run on threads; with
//! `--cfg shuttle` thousands of schedules of it are explored.
mod bench;
#[cfg_attr(shuttle, path = "tests/explored.rs")]
#[cfg_attr(not(shuttle), path = "tests/threads.rs")]
mod place;
// Its runtimes are real.
#[cfg(not(shuttle))]
mod runtimes;

use super::SingleFlight;
use bench::{Bench, impatient};
use futures_util::FutureExt as _;
use place::{block_on, chance, check, pause, spawn, yield_now};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

#[test]
fn callers_of_one_key_share_one_run_and_its_value() {
    check(|| {
        let bench = Bench::new();
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let bench = bench.clone();
                spawn(move || block_on(bench.join("key", CALLERS).work))
            })
            .collect();
        for caller in callers {
            assert_eq!(caller.join().unwrap(), 1);
        }
        bench.assert_quiet(1, 1);
    });
}

#[test]
fn callers_that_are_dropped_do_not_end_the_execution_of_others() {
    check(|| {
        let bench = Bench::new();
        let patient = bench.join("key", CALLERS);
        let leaving: Vec<_> = (1..CALLERS)
            .map(|_| {
                let (bench, patience) = (bench.clone(), chance(5));
                spawn(move || {
                    let waiter = bench.join("key", CALLERS);
                    block_on(impatient(patience, waiter.work))
                })
            })
            .collect();
        assert_eq!(block_on(patient.work), 1);
        for caller in leaving {
            assert!(matches!(caller.join().unwrap(), None | Some(1)));
        }
        bench.assert_quiet(1, 1);
    });
}

#[test]
fn the_last_caller_that_is_dropped_ends_the_execution_and_the_next_one_starts_another() {
    check(|| {
        let bench = Bench::new();
        let leaving: Vec<_> = (0..CALLERS)
            .map(|_| {
                let (bench, patience) = (bench.clone(), chance(4));
                // There are never enough of them for the execution to end.
                spawn(move || block_on(impatient(patience, bench.join("key", usize::MAX).work)))
            })
            .collect();
        for caller in leaving {
            assert_eq!(caller.join().unwrap(), None);
        }
        let begun = bench.begun();
        bench.assert_quiet(begun, 0);
        assert_eq!(block_on(bench.join("key", 0).work), begun + 1);
        bench.assert_quiet(begun + 1, 1);
    });
}

#[test]
fn an_execution_that_is_being_dropped_removes_no_other_entry() {
    check(|| {
        let bench = Bench::new();
        let leaving = {
            let (bench, patience) = (bench.clone(), chance(3));
            spawn(move || block_on(impatient(patience, bench.join_uncounted("key", 2).work)))
        };
        let staying: Vec<_> = (0..2)
            .map(|_| {
                let bench = bench.clone();
                spawn(move || block_on(bench.join("key", 2).work))
            })
            .collect();
        let results: Vec<_> = staying
            .into_iter()
            .map(|caller| caller.join().unwrap())
            .collect();
        leaving.join().unwrap();
        assert_eq!(results[0], results[1]);
        bench.assert_quiet(bench.begun(), bench.ended());
    });
}

#[test]
fn no_caller_gets_a_result_from_before_it_joined() {
    check(|| {
        let bench = Bench::new();
        let result = Arc::new(AtomicUsize::new(0));
        let callers: Vec<_> = (0..3)
            .map(|_| {
                let (bench, result) = (bench.clone(), Arc::clone(&result));
                spawn(move || {
                    for _ in 0..3 {
                        let before = result.load(SeqCst);
                        let work = bench.join("key", 0).work;
                        let Some(value) = block_on(impatient(chance(8), work)) else {
                            continue;
                        };
                        assert!(value > before, "{value} was over at {before}");
                        result.fetch_max(value, SeqCst);
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.join().unwrap();
        }
        bench.assert_quiet(bench.begun(), bench.ended());
    });
}

#[test]
fn an_execution_that_panics_does_so_for_all_waiters_and_blocks_nothing() {
    check(|| {
        let bench = Bench::new();
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let bench = bench.clone();
                spawn(move || {
                    let waiter = bench.join_panicking("key", CALLERS);
                    block_on(AssertUnwindSafe(waiter.work).catch_unwind()).is_err()
                })
            })
            .collect();
        for caller in callers {
            assert!(caller.join().unwrap());
        }
        assert_eq!(block_on(bench.join("key", 0).work), 2);
        bench.assert_quiet(2, 1);
    });
}

#[test]
fn different_keys_do_not_wait_for_each_other() {
    check(|| {
        let bench = Bench::new();
        // The slow one ends only when it is joined again, which happens only when the others have ended.
        let slow = bench.join("slow", 4);
        let quick: Vec<_> = ["a", "b"]
            .map(|key| {
                let bench = bench.clone();
                spawn(move || block_on(bench.join(key, 0).work))
            })
            .into_iter()
            .collect();
        let waiting = spawn(move || block_on(slow.work));
        for caller in quick {
            caller.join().unwrap();
        }
        block_on(bench.join("slow", 4).work);
        waiting.join().unwrap();
        bench.assert_quiet(3, 3);
    });
}

#[test]
fn an_execution_that_joins_another_single_flight_neither_deadlocks_nor_repeats() {
    check(|| {
        let inner = Bench::new();
        let outer = SingleFlight::<&str, usize>::default();
        let outer = Arc::new(outer);
        let kept = inner.join("certificate", 0);
        let callers: Vec<_> = ["vault", "graph", "vault", "graph"]
            .into_iter()
            .map(|key| {
                let (inner, outer) = (inner.clone(), Arc::clone(&outer));
                let patience = if chance(2) == 0 {
                    usize::MAX
                } else {
                    chance(6)
                };
                // Joined on a runtime, as by all callers: an execution belongs to the runtime on which it was started.
                let call = async move {
                    let waiter = outer.join(&key, move |_| {
                        let inner = inner.clone();
                        let work = async move {
                            yield_now().await;
                            inner.join("certificate", 0).work.await
                        };
                        work.boxed()
                    });
                    impatient(patience, waiter.work).await
                };
                spawn(move || {
                    let result = block_on(call);
                    assert!(result.is_some() || patience < usize::MAX);
                })
            })
            .collect();
        assert!(block_on(kept.work) > 0);
        for caller in callers {
            caller.join().unwrap();
        }
        // A task that is being polled is dropped after that.
        while outer.len() > 0 {
            pause();
        }
        inner.assert_quiet(inner.begun(), inner.ended());
    });
}

const CALLERS: usize = 4;
