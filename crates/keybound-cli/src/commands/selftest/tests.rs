//! The self-test with a certificate that an earlier run stored. The store and the key persist between clients, as on Windows, where
//! certificates of an emulator are not stored.
use super::checks::Checks;
use super::report::{Outcome, StepResult};
use crate::args::{Cli, Command, SelftestArgs};
use crate::diagnosis::testing::MemoryStore;
use crate::session;
use crate::steps::StepLog;
use clap::Parser as _;
use keybound::keys::{KeyProvider as _, ProviderChain};
use keybound_emulator::{Config, Emulator, SimulatedKeyProvider};
use keybound_testing::{FixedKeyProvider, TestKey};
use std::sync::Arc;

#[test]
fn uses_stored_certificate_unless_fresh_one_is_requested() {
    let emulator = Emulator::start(Config::default()).unwrap();
    let host = Host::new();

    let steps = host.selftest(&emulator, &["--fresh"]);
    assert_eq!(skipped(&steps), ["attestation_library", "resource"]);
    assert_eq!(host.store.entries(), [], "nothing is stored");

    let steps = host.selftest(&emulator, &[]);
    assert_eq!(skipped(&steps), ["attestation_library", "resource"]);
    let stored = host.store.entries();
    assert_eq!(stored.len(), 1);

    let steps = host.selftest(&emulator, &[]);
    // The key is opened nevertheless.
    let not_needed = ["metadata", "csr", "attestation", "credential"];
    let expected = [&["attestation_library"], &not_needed[..], &["resource"]].concat();
    assert_eq!(skipped(&steps), expected);
    for step in steps.iter().filter(|step| not_needed.contains(&step.name)) {
        assert!(
            step.detail.contains("stored certificate of an earlier run"),
            "{step:?}"
        );
    }

    let steps = host.selftest(&emulator, &["--fresh"]);
    assert_eq!(skipped(&steps), ["attestation_library", "resource"]);
    assert_eq!(
        host.store.entries(),
        stored,
        "the stored certificate remains"
    );
}

/// The names of the skipped steps; panics if a step failed.
fn skipped(steps: &[StepResult]) -> Vec<&'static str> {
    let failed = |step: &StepResult| matches!(step.outcome, Outcome::Failed(_));
    assert!(!steps.iter().any(failed), "{steps:#?}");
    let skipped = |step: &&StepResult| matches!(step.outcome, Outcome::Skipped);
    steps.iter().filter(skipped).map(|step| step.name).collect()
}

/// The state that persists between runs.
struct Host {
    store: Arc<MemoryStore>,
    /// The emulator's key, which later clients open by its name.
    keys: ProviderChain,
}

impl Host {
    fn new() -> Self {
        let key = TestKey::over(SimulatedKeyProvider::new().open().unwrap());
        let key = key.with_persistent_name(Some("a key of this test"));
        Self {
            store: Arc::default(),
            keys: FixedKeyProvider::chain(Arc::new(key)),
        }
    }

    fn selftest(&self, emulator: &Emulator, flags: &[&str]) -> Vec<StepResult> {
        let args = arguments(emulator, flags);
        let builder = session::trust(&args.host, None)
            .and_then(|trust| session::client_builder(&args.host, trust))
            .unwrap_or_else(|failure| panic!("{failure:?}"))
            .binding_store(Arc::clone(&self.store) as _)
            .key_providers(self.keys.clone());
        let checks = Checks::with(&args, StepLog::default(), builder)
            .unwrap_or_else(|failure| panic!("{failure:?}"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let steps = runtime.block_on(checks.run());
        // Waits until pending certificates are stored.
        drop(runtime);
        steps
    }
}

fn arguments(emulator: &Emulator, flags: &[&str]) -> SelftestArgs {
    let ready = serde_json::to_value(emulator.ready()).unwrap();
    let named = |name: &str| ready[name].as_str().unwrap().to_owned();
    let (imds, ca_file) = (named("imds"), named("ca_file"));
    let base = ["keybound", "selftest", "--simulated", "--imds", &imds];
    let arguments = [&base[..], &["--ca-file", &ca_file], flags].concat();
    match Cli::parse_from(arguments).command {
        Command::Selftest(args) => *args,
        other => panic!("{other:?}"),
    }
}
