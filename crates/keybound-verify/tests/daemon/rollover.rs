//! New keys of the issuer while requests are answered.
use crate::clients::Clients;
use crate::fixture::{Fixture, connect_unix, status, subrequest_with, table};
use crate::rolling_issuer::{FETCH_INTERVAL, RollingIssuer};
use crate::support::paused_runtime;
use keybound_testing::attacks::TokenRecipe;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
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
        let daemon = issuer.start(&fixture).await;
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

fn signed_by(key: &str) -> String {
    let recipe = json!({ "key": key, "claims": { "exp": { "now": 400_000 } } });
    let recipe: TokenRecipe = serde_json::from_value(recipe).unwrap();
    format!("mtls_pop {}", recipe.make(&table().issuer))
}

/// Those without an issuer.
const KEYS: [&str; 2] = ["any", "second"];
