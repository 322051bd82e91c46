//! A month of life, with services that fail by chance and certificates that are revoked.
use super::expect::sound;
use super::runner::Run;
use super::script::Script;
use super::world::{Failing, Setup};
use super::{Leg, World};
use crate::keys::ProviderChain;
use crate::{Environment, KeyRequirements, KeyStrength, ManagedIdentityClient, TokenRequest};
use keybound_core::lock;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

#[tokio::test(start_paused = true)]
async fn a_month_with_certificates_of_eight_hours() {
    live(8 * HOUR, 8).await;
}

#[tokio::test(start_paused = true)]
async fn a_month_with_certificates_of_seven_days() {
    live(7 * DAY, 7).await;
}

/// What came out of the month.
#[derive(Debug, Default)]
struct Tally {
    calls: usize,
    failed: usize,
    served_on: usize,
    in_last_minutes: usize,
    revocations: usize,
}

async fn live(certificate_life: u64, seed: u64) {
    let setup = Setup {
        certificate_life: certificate_life as f64,
        token_life: HOUR as f64,
        ..Setup::default()
    };
    let world = World::new(setup, Script::default());
    *lock(&world.failing) = Some(Failing {
        source: fastrand::Rng::with_seed(seed),
        imds: 0.3,
        token: 0.1,
    });
    let client = client(&world, seed);
    let requests = RESOURCES.map(|resource| {
        let requirements = KeyRequirements::unattested().min_strength(KeyStrength::Software);
        TokenRequest::pop(resource, requirements)
    });
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut tally = Tally::default();
    let mut had = HashMap::new();
    let mut next_revocation = 2 * DAY;
    while world.elapsed().as_secs() < 30 * DAY {
        tokio::time::sleep(Duration::from_millis(chance.u64(20_000..60_000))).await;
        if world.elapsed().as_secs() > next_revocation {
            next_revocation += 2 * DAY + HOUR;
            tally.revocations += 1;
            let mut seen = lock(&world.seen);
            let current = seen.certificates.len();
            seen.revoked.push(current);
        }
        let which = chance.usize(..RESOURCES.len());
        let valid = had
            .get(&which)
            .is_some_and(|ends: &SystemTime| *ends > world.true_time());
        let before = world.elapsed();
        let answer = client.acquire_token(&requests[which].clone()).await;
        tally.calls += 1;
        match answer {
            Ok(token) => {
                let wrong = sound(&world, RESOURCES[which], &token);
                assert!(wrong.is_empty(), "{:?}: {wrong:?}", world.elapsed());
                tally.served_on += usize::from(token.renewal_failure().is_some());
                let last_minutes = token.expires_on() - Duration::from_secs(300);
                tally.in_last_minutes += usize::from(world.true_time() > last_minutes);
                had.insert(which, token.expires_on());
            }
            Err(error) => {
                assert!(!valid, "a valid token was there at {before:?}: {error:?}");
                tally.failed += 1;
            }
        }
    }
    judge(&world, &tally, certificate_life);
}

fn judge(world: &World, tally: &Tally, certificate_life: u64) {
    let mints = lock(&world.seen).certificates.len();
    let half_lives = (30 * DAY) as f64 / (certificate_life as f64 / 2.0);
    let most = 1.1 * half_lives + tally.revocations as f64;
    println!(
        "certificates of {} h: {tally:?}, {mints} certificates of at most {most:.0}, {} issue calls, {} token calls",
        certificate_life / HOUR,
        world.calls(Leg::Issue).len(),
        world.calls(Leg::Token).len(),
    );
    assert!(mints as f64 <= most, "{mints} certificates, at most {most}");
    assert!(mints as f64 >= 0.8 * half_lives, "renewal stopped: {mints}");
    assert!(tally.calls > 50_000 && tally.revocations > 10);
    // Where nobody asked in a token's last minutes, the next call may meet a service that fails.
    assert!(tally.failed * 500 < tally.calls, "{tally:?}");
    assert!(tally.in_last_minutes > 50, "{tally:?}");
    let wrong = std::mem::take(&mut lock(&world.seen).wrong);
    assert!(wrong.is_empty(), "{wrong:?}");
}

fn client(world: &Arc<World>, seed: u64) -> ManagedIdentityClient {
    let run = Run::new(Arc::clone(world));
    ManagedIdentityClient::builder()
        .environment(Environment::empty())
        .key_providers(ProviderChain::new(vec![run.keys as _]))
        .clock(Arc::clone(world) as _)
        .persistence(false)
        .simulated(super::world::Services(Arc::clone(world)), seed)
        .build()
        .unwrap()
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
