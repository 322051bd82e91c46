use crate::fixture::{Fixture, table};
use keybound_resource::{Clock, FetchFuture, KeyFetcher, Keys, VerifierBuilder};
use keybound_testing::attacks::{fixed_now, published};
use keybound_verify::{Daemon, DecisionLog};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, UNIX_EPOCH};

/// An issuer whose keys change, and the clock of the daemon.
#[derive(Clone, Default)]
pub struct RollingIssuer {
    keys: Arc<Mutex<Vec<Value>>>,
    seconds: Arc<AtomicU64>,
    fetches: Arc<AtomicU64>,
}

impl RollingIssuer {
    /// A daemon that has its keys.
    pub async fn start(&self, fixture: &Fixture) -> Daemon {
        let issuer = self.clone();
        let settings = move |builder: VerifierBuilder| {
            builder
                .clock(issuer.clone())
                .keys(Keys::discovered(issuer.clone()))
        };
        let daemon = fixture.start_with(DecisionLog::none(), settings).await;
        let daemon = daemon.unwrap();
        let end = Instant::now() + START;
        while !daemon.is_ready() {
            assert!(Instant::now() < end, "the daemon has no keys");
            tokio::task::yield_now().await;
        }
        daemon
    }

    pub fn publish(&self, ids: &[&str]) {
        let all = table().issuer.key_set();
        let all = all["keys"].as_array().unwrap().iter();
        let published = all.filter(|key| ids.contains(&key["kid"].as_str().unwrap()));
        *self.keys.lock().unwrap() = published.cloned().collect();
    }

    pub fn advance(&self, seconds: u64) {
        self.seconds.fetch_add(seconds, Ordering::Relaxed);
    }

    /// The number of documents that were fetched.
    pub fn fetches(&self) -> u64 {
        self.fetches.load(Ordering::Relaxed)
    }
}

impl KeyFetcher for RollingIssuer {
    fn fetch<'a>(&'a self, url: &'a str) -> FetchFuture<'a> {
        self.fetches.fetch_add(1, Ordering::Relaxed);
        let keys = json!({ "keys": *self.keys.lock().unwrap() });
        let document = published(url, &keys);
        Box::pin(async move { Ok(document.to_string().into_bytes()) })
    }
}

impl Clock for RollingIssuer {
    fn wall(&self) -> Duration {
        let start = fixed_now().duration_since(UNIX_EPOCH).unwrap();
        start + Duration::from_secs(self.seconds.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        self.wall()
    }
}

/// Longer than the time between two fetches because of an unknown key, in seconds.
pub const FETCH_INTERVAL: u64 = 301;
/// Longer than a busy machine needs.
const START: Duration = Duration::from_secs(30);
