//! Interleaved measurements of two or three alternatives, so that disturbances of the machine affect all of them.
use std::fmt;
use std::time::{Duration, Instant};

/// The result of a comparison: the ratios of our times to the other's, round by round.
pub struct Figure {
    name: &'static str,
    bound: f64,
    ratios: Vec<f64>,
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

/// Measures both `pairs` times, in the order A B B A, after one pair for warm-up.
pub async fn compare(
    name: &'static str,
    bound: f64,
    pairs: usize,
    mut ours: impl AsyncFnMut(),
    mut theirs: impl AsyncFnMut(),
) -> Figure {
    let (mut our_times, mut their_times) = (vec![], vec![]);
    ours().await;
    theirs().await;
    for pair in 0..pairs {
        for turn in 0..2 {
            match (pair + turn) % 2 {
                0 => our_times.push(timed(&mut ours).await),
                _ => their_times.push(timed(&mut theirs).await),
            }
        }
    }
    Figure::new(name, bound, our_times, their_times)
}

/// Measures all three `rounds` times, in alternating order, after one round for warm-up. The figures compare ours with each of
/// the others.
pub async fn compare_three(
    names: [&'static str; 2],
    bounds: [f64; 2],
    rounds: usize,
    mut ours: impl AsyncFnMut(),
    mut theirs: impl AsyncFnMut(),
    mut others: impl AsyncFnMut(),
) -> [Figure; 2] {
    let (mut our_times, mut their_times, mut other_times) = (vec![], vec![], vec![]);
    ours().await;
    theirs().await;
    others().await;
    for round in 0..rounds {
        for turn in ORDERS[round % ORDERS.len()] {
            match turn {
                0 => our_times.push(timed(&mut ours).await),
                1 => their_times.push(timed(&mut theirs).await),
                _ => other_times.push(timed(&mut others).await),
            }
        }
    }
    [
        Figure::new(names[0], bounds[0], our_times.clone(), their_times),
        Figure::new(names[1], bounds[1], our_times, other_times),
    ]
}

async fn timed(work: &mut impl AsyncFnMut()) -> f64 {
    let started = Instant::now();
    work().await;
    started.elapsed().as_secs_f64() * 1000.0
}

/// Like [`compare`], for work that does not wait, by the processor time of the thread: the load of the machine hardly affects it.
pub fn compare_processor_time(
    name: &'static str,
    bound: f64,
    pairs: usize,
    now: impl Fn() -> Duration,
    mut ours: impl FnMut(),
    mut theirs: impl FnMut(),
) -> Figure {
    let (mut our_times, mut their_times) = (vec![], vec![]);
    let timed = |work: &mut dyn FnMut()| {
        let started = now();
        work();
        (now() - started).as_secs_f64() * 1000.0
    };
    ours();
    theirs();
    for pair in 0..pairs {
        for turn in 0..2 {
            match (pair + turn) % 2 {
                0 => our_times.push(timed(&mut ours)),
                _ => their_times.push(timed(&mut theirs)),
            }
        }
    }
    Figure::new(name, bound, our_times, their_times)
}

impl Figure {
    fn new(name: &'static str, bound: f64, mut ours: Vec<f64>, mut theirs: Vec<f64>) -> Self {
        let mut ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(a, b)| a / b).collect();
        for values in [&mut ratios, &mut ours, &mut theirs] {
            values.sort_by(f64::total_cmp);
        }
        Self {
            name,
            bound,
            ratios,
            ours,
            theirs,
        }
    }

    /// Whether the median ratio is within its bound.
    pub fn holds(&self) -> bool {
        quantile(&self.ratios, 0.5) <= self.bound
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:34} {:.3} ({:.3} to {:.3}), bound {:.3}: {}; {:.2} ms beside {:.2} ms",
            self.name,
            quantile(&self.ratios, 0.5),
            quantile(&self.ratios, 0.25),
            quantile(&self.ratios, 0.75),
            self.bound,
            if self.holds() { "within" } else { "EXCEEDED" },
            quantile(&self.ours, 0.5),
            quantile(&self.theirs, 0.5),
        )
    }
}

fn quantile(sorted: &[f64], at: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * at).round() as usize]
}

/// All orders, so that each side runs equally often after each other one: a side pays for what the one before evicted from the
/// processor's caches.
const ORDERS: [[usize; 3]; 6] = [
    [0, 1, 2],
    [1, 0, 2],
    [0, 2, 1],
    [2, 1, 0],
    [1, 2, 0],
    [2, 0, 1],
];
