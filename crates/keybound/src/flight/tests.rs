//! What the callers of a flight may count on, whatever the order of their steps. Each scenario is run on threads; with
//! the feature `shuttle` thousands of schedules of it are explored.
mod bench;
#[cfg_attr(feature = "shuttle", path = "tests/explored.rs")]
#[cfg_attr(not(feature = "shuttle"), path = "tests/threads.rs")]
mod place;
// Its runtimes are real.
#[cfg(not(feature = "shuttle"))]
mod runtimes;

use super::Flights;
use bench::{Bench, impatient};
use futures_util::FutureExt as _;
use place::{block_on, chance, check, spawn, yield_now};
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
fn callers_who_leave_end_it_for_nobody_else() {
    check(|| {
        let bench = Bench::new();
        let patient = bench.join("key", CALLERS);
        let leaving: Vec<_> = (1..CALLERS)
            .map(|_| {
                let (bench, patience) = (bench.clone(), chance(5));
                spawn(move || {
                    let seat = bench.join("key", CALLERS);
                    block_on(impatient(patience, seat.work))
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
fn the_last_one_to_leave_gives_it_up_and_the_next_one_starts_anew() {
    check(|| {
        let bench = Bench::new();
        let leaving: Vec<_> = (0..CALLERS)
            .map(|_| {
                let (bench, patience) = (bench.clone(), chance(4));
                // There are never enough of them for the work to end.
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
fn a_flight_that_is_being_given_up_takes_no_other_off_the_board() {
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
        let told: Vec<_> = staying
            .into_iter()
            .map(|caller| caller.join().unwrap())
            .collect();
        leaving.join().unwrap();
        assert_eq!(told[0], told[1]);
        bench.assert_quiet(bench.begun(), bench.ended());
    });
}

#[test]
fn nobody_is_told_what_ended_before_he_asked() {
    check(|| {
        let bench = Bench::new();
        let told = Arc::new(AtomicUsize::new(0));
        let callers: Vec<_> = (0..3)
            .map(|_| {
                let (bench, told) = (bench.clone(), Arc::clone(&told));
                spawn(move || {
                    for _ in 0..3 {
                        let before = told.load(SeqCst);
                        let work = bench.join("key", 0).work;
                        let Some(value) = block_on(impatient(chance(8), work)) else {
                            continue;
                        };
                        assert!(value > before, "{value} was over at {before}");
                        told.fetch_max(value, SeqCst);
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
fn work_that_panics_does_so_for_all_who_wait_and_wedges_nothing() {
    check(|| {
        let bench = Bench::new();
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let bench = bench.clone();
                spawn(move || {
                    let seat = bench.join_panicking("key", CALLERS);
                    block_on(AssertUnwindSafe(seat.work).catch_unwind()).is_err()
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
        // The one ends only when it is joined again, and it is joined again only when the others have been told.
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
fn work_that_joins_another_board_neither_deadlocks_nor_repeats() {
    check(|| {
        let inner = Bench::new();
        let outer = Flights::<&str, usize, ()>::default();
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
                // Joined on a runtime, as by all callers: what a flight waits by is of the one that it began on.
                let call = async move {
                    let seat = outer.join(&key, move || {
                        let inner = inner.clone();
                        let work = async move {
                            yield_now().await;
                            inner.join("certificate", 0).work.await
                        };
                        (Arc::new(()), work.boxed())
                    });
                    impatient(patience, seat.work).await
                };
                spawn(move || {
                    let told = block_on(call);
                    assert!(told.is_some() || patience < usize::MAX);
                })
            })
            .collect();
        assert!(block_on(kept.work) > 0);
        for caller in callers {
            caller.join().unwrap();
        }
        assert_eq!(outer.len(), 0);
        inner.assert_quiet(inner.begun(), inner.ended());
    });
}

const CALLERS: usize = 4;
