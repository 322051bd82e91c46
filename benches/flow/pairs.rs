//! Two ways of doing the same, in turn, so that the machine's moods hit both.
use std::fmt;
use std::time::Instant;

/// What a comparison came to.
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
    let mut figure = Figure {
        name,
        bound,
        ratios: vec![],
        ours: vec![],
        theirs: vec![],
    };
    ours().await;
    theirs().await;
    for pair in 0..pairs {
        let (a, b) = if pair % 2 == 0 {
            let a = timed(&mut ours).await;
            (a, timed(&mut theirs).await)
        } else {
            let b = timed(&mut theirs).await;
            (timed(&mut ours).await, b)
        };
        figure.ratios.push(a / b);
        figure.ours.push(a);
        figure.theirs.push(b);
    }
    for values in [&mut figure.ratios, &mut figure.ours, &mut figure.theirs] {
        values.sort_by(f64::total_cmp);
    }
    figure
}

async fn timed(work: &mut impl AsyncFnMut()) -> f64 {
    let started = Instant::now();
    work().await;
    started.elapsed().as_secs_f64() * 1000.0
}

impl Figure {
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
