use super::{Connection, Inner};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// Requests with a valid token on separate connections, until they are stopped.
pub(super) struct ValidTraffic {
    tasks: JoinSet<()>,
    accepted: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl ValidTraffic {
    /// Sends a request on each connection at an interval; zero: as fast as they are accepted.
    pub(super) fn start<C, F, S>(flood: &Arc<Inner<C>>, connections: usize, pace: Duration) -> Self
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = S> + Send + 'static,
        S: Connection,
    {
        let (accepted, stop) = (Arc::default(), Arc::default());
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            let flood = Arc::clone(flood);
            let accepted: Arc<AtomicU64> = Arc::clone(&accepted);
            let stop: Arc<AtomicBool> = Arc::clone(&stop);
            tasks.spawn(async move {
                let mut client = (flood.connect)().await;
                let mut ticks = (!pace.is_zero()).then(|| interval(pace));
                if let Some(ticks) = &mut ticks {
                    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
                }
                while !stop.load(Ordering::Relaxed) {
                    if let Some(ticks) = &mut ticks {
                        ticks.tick().await;
                    }
                    assert_eq!(client.send(&flood.valid).await, 200);
                    accepted.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self {
            tasks,
            accepted,
            stop,
        }
    }

    /// The number of requests that were accepted until now, which changes.
    pub(super) fn accepted(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.accepted)
    }

    /// # Panics
    /// When a request was not accepted.
    pub(super) async fn failed(&mut self) {
        let ended = self.tasks.join_next().await;
        panic!("{ended:?}");
    }

    /// Returns the number of requests, all of which were accepted.
    pub(super) async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
        self.accepted.load(Ordering::Relaxed)
    }
}
