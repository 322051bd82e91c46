//! New keys of the issuer while requests are answered.
use crate::clients::Clients;
use crate::fixture::{Fixture, connect_unix, status, subrequest_with, table};
use crate::support::paused_runtime;
use keybound_resource::{Clock, FetchFuture, KeyFetcher, Keys, VerifierBuilder};
use keybound_testing::attacks::{TENANT, TokenRecipe, fixed_now};
use keybound_verify::{Config, Daemon, DecisionLog};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};
use tokio::sync::RwLock;

/// `KEYBOUND_LONG_TESTS`: a hundred rollovers.
#[test]
fn rollovers_under_load_refuse_no_token_of_a_published_key() {
    let rollovers = match std::env::var_os("KEYBOUND_LONG_TESTS") {
        Some(_) => 100,
        None => 4,
    };
    // However busy the machine is, a request waits for new keys: time does not advance while they are fetched.
    paused_runtime().block_on(async {
        let fixture = Fixture::new();
        let issuer = RollingIssuer::default();
        issuer.publish(&KEYS[..1]);
        let daemon = start(&fixture, &issuer).await;
        let mut sender = connect_unix(&fixture.socket()).await;
        // Clients hold it while a request is answered.
        let signer = Arc::new(RwLock::new(KEYS[0]));
        let held = Arc::clone(&signer);
        let clients = Clients::start(fixture.socket(), move |mut sender| {
            let signer = Arc::clone(&held);
            async move {
                let signer = signer.read().await;
                let request = subrequest_with(&signed_by(*signer));
                assert_eq!(status(&mut sender, request).await.0, 200, "{signer}");
                sender
            }
        });
        let clients = clients.await;
        for rollover in 0..rollovers {
            let [old, new] = [rollover % 2, (rollover + 1) % 2].map(|position| KEYS[position]);
            issuer.publish(&KEYS);
            issuer.advance(FETCH_INTERVAL);
            let request = || subrequest_with(&signed_by(new));
            assert_eq!(status(&mut sender, request()).await.0, 200, "{rollover}");
            *signer.write().await = new;
            issuer.publish(&[new]);
            issuer.advance(FETCH_INTERVAL);
            // An unknown key has its issuer's keys fetched.
            let unknown = subrequest_with(&signed_by("unknown"));
            assert_eq!(status(&mut sender, unknown).await.0, 401, "{rollover}");
            let retired = subrequest_with(&signed_by(old));
            assert_eq!(status(&mut sender, retired).await.0, 401, "{rollover}");
        }
        clients.stop().await;
        daemon.stop(Duration::ZERO).await;
    });
}

async fn start(fixture: &Fixture, issuer: &RollingIssuer) -> Daemon {
    let config = Config::from_toml(&fixture.config.lock().unwrap()).unwrap();
    let again = config.clone();
    let issuer = issuer.clone();
    let extend = move |_: &str, builder: VerifierBuilder| {
        let keys = Keys::discovered(issuer.clone());
        builder.clock(issuer.clone()).keys(keys)
    };
    let load = move || Ok(again.clone());
    let daemon = Daemon::start(config, DecisionLog::none(), Arc::new(extend), load).await;
    daemon.unwrap()
}

fn signed_by(key: &str) -> String {
    let recipe = json!({ "key": key, "claims": { "exp": { "now": 400_000 } } });
    let recipe: TokenRecipe = serde_json::from_value(recipe).unwrap();
    recipe.make(&table().issuer)
}

/// An issuer whose keys change, and the clock of the daemon.
#[derive(Clone, Default)]
struct RollingIssuer {
    keys: Arc<Mutex<Vec<Value>>>,
    seconds: Arc<AtomicU64>,
}

impl RollingIssuer {
    fn publish(&self, ids: &[&str]) {
        let all = table().issuer.key_set();
        let all = all["keys"].as_array().unwrap().iter();
        let published = all.filter(|key| ids.contains(&key["kid"].as_str().unwrap()));
        *self.keys.lock().unwrap() = published.cloned().collect();
    }

    fn advance(&self, seconds: u64) {
        self.seconds.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl KeyFetcher for RollingIssuer {
    fn fetch<'a>(&'a self, url: &'a str) -> FetchFuture<'a> {
        let document = match url.strip_suffix("/.well-known/openid-configuration") {
            None => json!({ "keys": *self.keys.lock().unwrap() }),
            Some(base) => {
                let v1 = format!("https://sts.windows.net/{TENANT}/");
                let issuer = if base.ends_with("/v2.0") { base } else { &v1 };
                json!({ "issuer": issuer, "jwks_uri": format!("{base}/keys") })
            }
        };
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

/// Those without an issuer.
const KEYS: [&str; 2] = ["any", "second"];
/// Longer than the time between two fetches because of an unknown key, in seconds.
const FETCH_INTERVAL: u64 = 301;
