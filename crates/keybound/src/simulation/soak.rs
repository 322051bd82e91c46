//! A simulated month with services that fail randomly and certificates that are revoked.
use super::expect::check_invariants;
use super::runner::Run;
use super::script::{Failing, Script};
use super::test_host::{Setup, unattested};
use super::{Leg, TestHost};
use keybound_core::lock;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

#[tokio::test(start_paused = true)]
async fn month_with_certificates_of_eight_hours() {
    run_month(8 * HOUR, 8).await;
}

#[tokio::test(start_paused = true)]
async fn month_with_certificates_of_seven_days() {
    run_month(7 * DAY, 7).await;
}

/// The results of the month.
#[derive(Debug, Default)]
struct Tally {
    calls: usize,
    failed: usize,
    /// Tokens that were returned although their refresh failed.
    stale: usize,
    in_last_minutes: usize,
    revocations: usize,
}

async fn run_month(certificate_life: u64, seed: u64) {
    let setup = Setup {
        certificate_life: certificate_life as f64,
        token_life: HOUR as f64,
        ..Setup::default()
    };
    let host = TestHost::new(setup, Script::default());
    *lock(&host.failing) = Some(Failing {
        source: fastrand::Rng::with_seed(seed),
        imds: 0.3,
        token: 0.1,
    });
    let keys = Run::new(Arc::clone(&host)).keys;
    let client = host.client_builder(keys, seed).build().unwrap();
    let requests = RESOURCES.map(unattested);
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut tally = Tally::default();
    let mut expiries = HashMap::new();
    let mut next_revocation = 2 * DAY;
    while host.elapsed().as_secs() < 30 * DAY {
        tokio::time::sleep(Duration::from_millis(chance.u64(20_000..60_000))).await;
        if host.elapsed().as_secs() > next_revocation {
            next_revocation += 2 * DAY + HOUR;
            tally.revocations += 1;
            let mut history = lock(&host.history);
            let current = history.certificates.len();
            history.revoked.push(current);
        }
        let which = chance.usize(..RESOURCES.len());
        let valid = expiries
            .get(&which)
            .is_some_and(|expires: &SystemTime| *expires > host.true_time());
        let before = host.elapsed();
        let result = client.acquire_token(&requests[which].clone()).await;
        tally.calls += 1;
        match result {
            Ok(token) => {
                let violations = check_invariants(&host, RESOURCES[which], &token);
                assert!(
                    violations.is_empty(),
                    "{:?}: {violations:?}",
                    host.elapsed()
                );
                tally.stale += usize::from(token.refresh_failure().is_some());
                let last_minutes = token.expires_on() - Duration::from_secs(300);
                tally.in_last_minutes += usize::from(host.true_time() > last_minutes);
                expiries.insert(which, token.expires_on());
            }
            Err(error) => {
                assert!(
                    !valid,
                    "a cached token was still valid at {before:?}: {error:?}"
                );
                tally.failed += 1;
            }
        }
    }
    check(&host, &tally, certificate_life);
}

fn check(host: &TestHost, tally: &Tally, certificate_life: u64) {
    let mints = lock(&host.history).certificates.len();
    let half_lives = (30 * DAY) as f64 / (certificate_life as f64 / 2.0);
    let limit = 1.1 * half_lives + tally.revocations as f64;
    println!(
        "certificates of {} h: {tally:?}, {mints} certificates of at most {limit:.0}, {} issue calls, {} token calls",
        certificate_life / HOUR,
        host.calls(Leg::Issue).len(),
        host.calls(Leg::Token).len(),
    );
    assert!(
        mints as f64 <= limit,
        "{mints} certificates, at most {limit}"
    );
    assert!(mints as f64 >= 0.8 * half_lives, "renewal stopped: {mints}");
    assert!(tally.calls > 50_000 && tally.revocations > 10);
    // If no call was made in a token's last minutes, the next call may fail with its service.
    assert!(tally.failed * 500 < tally.calls, "{tally:?}");
    assert!(tally.in_last_minutes > 50, "{tally:?}");
    let violations = std::mem::take(&mut lock(&host.history).violations);
    assert!(violations.is_empty(), "{violations:?}");
}

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
const RESOURCES: [&str; 6] = [
    "https://vault.azure.net",
    "https://graph.microsoft.com",
    "https://storage.azure.com",
    "https://database.windows.net",
    "api://orders",
    "api://invoices",
];
