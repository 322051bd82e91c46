//! Ways of doing the same, in turn, so that the machine's moods hit all of them.
use std::fmt;
use std::time::Instant;

/// What a comparison came to: the ratios of our times to the others', round by round.
pub struct Figure {
    name: &'static str,
    bound: f64,
    ratios: Vec<f64>,
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

/// Runs both `pairs` times, A B then B A, after one pair that does not count.
pub async fn compare(
    name: &'static str,
    bound: f64,
    pairs: usize,
    mut ours: impl AsyncFnMut(),
    mut theirs: impl AsyncFnMut(),
) -> Figure {
    let (mut of_ours, mut of_theirs) = (vec![], vec![]);
    ours().await;
    theirs().await;
    for pair in 0..pairs {
        for turn in 0..2 {
            match (pair + turn) % 2 {
                0 => of_ours.push(timed(&mut ours).await),
                _ => of_theirs.push(timed(&mut theirs).await),
            }
        }
    }
    Figure::new(name, bound, of_ours, of_theirs)
}

/// Runs all three `rounds` times, each of them first in turn, after one round that does not count. The figures are of
/// ours beside each of the others.
pub async fn compare_three(
    names: [&'static str; 2],
    bounds: [f64; 2],
    rounds: usize,
    mut ours: impl AsyncFnMut(),
    mut theirs: impl AsyncFnMut(),
    mut others: impl AsyncFnMut(),
) -> [Figure; 2] {
    let (mut of_ours, mut of_theirs, mut of_others) = (vec![], vec![], vec![]);
    ours().await;
    theirs().await;
    others().await;
    for round in 0..rounds {
        for turn in ORDERS[round % ORDERS.len()] {
            match turn {
                0 => of_ours.push(timed(&mut ours).await),
                1 => of_theirs.push(timed(&mut theirs).await),
                _ => of_others.push(timed(&mut others).await),
            }
        }
    }
    [
        Figure::new(names[0], bounds[0], of_ours.clone(), of_theirs),
        Figure::new(names[1], bounds[1], of_ours, of_others),
    ]
}

async fn timed(work: &mut impl AsyncFnMut()) -> f64 {
    let started = Instant::now();
    work().await;
    started.elapsed().as_secs_f64() * 1000.0
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

    /// Whether the median ratio keeps its bound.
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
            if self.holds() { "kept" } else { "BROKEN" },
            quantile(&self.ours, 0.5),
            quantile(&self.theirs, 0.5),
        )
    }
}

fn quantile(sorted: &[f64], at: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * at).round() as usize]
}

/// All of them, so that each side comes as often after each other one: the first after a slow one pays for what that one has
/// driven out of the processor's caches.
const ORDERS: [[usize; 3]; 6] = [
    [0, 1, 2],
    [1, 0, 2],
    [0, 2, 1],
    [2, 1, 0],
    [1, 2, 0],
    [2, 0, 1],
];
