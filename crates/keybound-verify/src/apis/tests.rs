use super::*;
use keybound_resource::{ClientCertificate, Clock, Reason};
use keybound_testing::attacks::{TENANT, TestIssuer, TokenRecipe, fixed_now};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

#[test]
fn what_has_expired_remains_expired_after_a_reload() {
    let issuer = TestIssuer::new(fixed_now());
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys.json");
    std::fs::write(&keys, issuer.key_file().to_string()).unwrap();
    let config = format!(
        "[listen]\ntcp = \"127.0.0.1:8444\"\n[proxy]\nengine = \"nginx\"\n[keys]\nfile = {keys:?}\n[[api]]\nhosts = [\"orders.contoso.com\"]\naudiences = [\"api://orders.contoso.com\"]\ntenants = [\"{TENANT}\"]\n"
    );
    let config = Config::from_toml(&config).unwrap();
    let recipe: TokenRecipe = serde_json::from_str("{}").unwrap();
    let header = format!("mtls_pop {}", recipe.make(&issuer));
    let certificate = issuer.certificates.der("client").unwrap();
    let certificate = ClientCertificate::from_der(&certificate).unwrap();
    let verify = |apis: &Apis| {
        let verified = apis.all[0].verifier.verify(header.as_str(), &certificate);
        verified.map(drop).map_err(|refusal| refusal.reason())
    };
    let build = |extend: &ExtendVerifier, previous: Option<&Apis>| {
        let metrics = Metrics::default();
        Apis::build(&config, &metrics, extend, previous).unwrap()
    };
    let clock = SetClock::default();
    let shared = SharedClock::new(clock.clone());
    let with_clock = shared.clone();
    let mut current = build(&move |_, builder| builder.shared_clock(&with_clock), None);
    current.shared_clock = shared;
    for (wall, monotonic, expected) in [
        (0, 0, Ok(())),
        (6 * 3600, 6 * 3600, Err(Reason::TokenExpired)),
        (0, 6 * 3600, Err(Reason::TokenExpired)),
    ] {
        clock.wall.store(wall, Ordering::Relaxed);
        clock.monotonic.store(monotonic, Ordering::Relaxed);
        current = build(&|_, builder| builder, Some(&current));
        assert_eq!(verify(&current), expected, "{wall} {monotonic}");
    }
}

/// In seconds after the time of the tests.
#[derive(Clone, Default)]
struct SetClock {
    wall: Arc<AtomicU64>,
    monotonic: Arc<AtomicU64>,
}

impl Clock for SetClock {
    fn wall(&self) -> Duration {
        let start = fixed_now().duration_since(UNIX_EPOCH).unwrap();
        start + Duration::from_secs(self.wall.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.monotonic.load(Ordering::Relaxed))
    }
}
