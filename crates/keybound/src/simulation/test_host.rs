//! The simulated host: its services with their history, and two clocks: the services' clock, and the host's, which can be wrong.
use super::about_host::Compute;
use super::pki::CertificateRecord;
use super::resource::Resource;
use super::script::{Failing, Script};
use super::services::{Call, Leg, Services, TokenRecord};
use super::sources::HostKind;
use crate::confidential::ClientAssertion;
use crate::keys::{KeyProvider, ProviderChain};
use crate::{
    Clock, Environment, KeyRequirements, ManagedIdentityClient, ManagedIdentityClientBuilder,
    TokenRequest,
};
use keybound_core::{KeyStrength, lock};
use serde::Deserialize;
use std::fmt::{self, Display};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tokio::time::Instant;

/// The settings of a simulated host.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Setup {
    /// The kind of the host, whose variables every client sees.
    pub(super) host: HostKind,
    pub(super) certificate_life: f64,
    /// Seconds until a certificate's `token_not_after`. Default: it has none.
    pub(super) certificate_token_life: Option<f64>,
    pub(super) token_life: f64,
    pub(super) refresh_in: Option<f64>,
    pub(super) attestation_life: f64,
    /// Whether IMDS returns the same certificate in the first half of its lifetime, as the real one does.
    pub(super) imds_cache: bool,
    /// The number of seconds for which it does so instead.
    pub(super) imds_cache_life: Option<f64>,
    /// Whether it responds with 400 to `bypass_cache`.
    pub(super) imds_rejects_bypass: bool,
    /// Whether it always returns the same certificate.
    pub(super) imds_stuck: bool,
    pub(super) retries: bool,
    pub(super) capabilities: Vec<String>,
    pub(super) store: Option<super::store::StoreBehavior>,
    #[serde(with = "KeyStrengthName")]
    pub(super) key: KeyStrength,
    pub(super) persistent_key: bool,
    /// Whether there is a provider of software keys besides.
    pub(super) software_key: bool,
    pub(super) no_attestation: bool,
    /// What the attestation provider's search for its library finds, if it needs one.
    pub(super) attestation_library: Option<LibrarySearch>,
    /// Whether IMDS has no v2.
    pub(super) imds_v1_only: bool,
    pub(super) compute: Compute,
    /// Whether Entra's responses have no `Date`.
    pub(super) no_date: bool,
}

/// The search for an attestation library.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LibrarySearch {
    Finds,
    Fails,
    Panics,
}

/// Reads a [`KeyStrength`].
#[derive(Deserialize)]
#[serde(remote = "KeyStrength", rename_all = "snake_case")]
pub(super) enum KeyStrengthName {
    Software,
    Hardware,
    KeyGuard,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            host: HostKind::default(),
            certificate_life: 7.0 * 86_400.0,
            certificate_token_life: None,
            token_life: 3600.0,
            refresh_in: None,
            attestation_life: 8.0 * 3600.0,
            imds_cache: true,
            imds_cache_life: None,
            imds_rejects_bypass: false,
            imds_stuck: false,
            retries: true,
            capabilities: Vec::new(),
            store: None,
            key: KeyStrength::KeyGuard,
            persistent_key: false,
            software_key: false,
            no_attestation: false,
            attestation_library: None,
            imds_v1_only: false,
            compute: Compute::default(),
            no_date: false,
        }
    }
}

/// The services, their history and both clocks.
pub(super) struct TestHost {
    pub(super) setup: Setup,
    pub(super) start: Instant,
    jumped: Mutex<f64>,
    pub(super) history: Mutex<History>,
    pub(super) script: Mutex<Script>,
    pub(super) failing: Mutex<Option<Failing>>,
    pub(super) resource: Mutex<Resource>,
    /// The directory of the keys of Azure Arc, if it was used.
    arc_tokens: OnceLock<TempDir>,
}

/// Requests that the services received, and what they issued.
#[derive(Default)]
pub(super) struct History {
    pub(super) calls: Vec<Call>,
    pub(super) certificates: Vec<CertificateRecord>,
    pub(super) revoked: Vec<usize>,
    pub(super) tokens: Vec<TokenRecord>,
    /// The content of the last key file of Azure Arc.
    pub(super) arc_key: String,
    /// Tokens and attestation tokens, which must not be logged.
    pub(super) secrets: Vec<String>,
    /// Why the function for assertions was called.
    pub(super) assertion_reasons: Vec<String>,
    /// The first assertion of [`AppCredential::KeptCallback`](super::case::AppCredential::KeptCallback).
    pub(super) kept_assertion: Option<ClientAssertion>,
    /// The rules of the protocol that requests violated.
    pub(super) violations: Vec<String>,
}

impl TestHost {
    pub(super) fn new(setup: Setup, script: Script) -> Arc<Self> {
        Arc::new(Self {
            setup,
            start: Instant::now(),
            jumped: Mutex::default(),
            history: Mutex::default(),
            script: Mutex::new(script),
            failing: Mutex::default(),
            resource: Mutex::default(),
            arc_tokens: OnceLock::new(),
        })
    }

    /// A builder of clients with this key provider, without a store.
    pub(super) fn client_builder(
        self: &Arc<Self>,
        keys: Arc<dyn KeyProvider>,
        seed: u64,
    ) -> ManagedIdentityClientBuilder {
        ManagedIdentityClient::builder()
            .environment(Environment::empty())
            .key_providers(ProviderChain::new(vec![keys]))
            .clock(Arc::clone(self) as _)
            .persistence(false)
            .simulated(Services(Arc::clone(self)), seed)
    }

    /// The time since the start.
    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The time on the services' clock.
    pub(super) fn true_time(&self) -> SystemTime {
        epoch() + self.elapsed()
    }

    /// Sets the host's clock forward or back.
    pub(super) fn jump(&self, seconds: f64) {
        *lock(&self.jumped) += seconds;
    }

    /// Checks a rule of the protocol. A violation is reported at the end: the client would catch a panic.
    pub(super) fn check(&self, holds: bool, rule: impl Display) {
        if !holds {
            lock(&self.history).violations.push(rule.to_string());
        }
    }

    pub(super) fn arc_tokens(&self) -> &Path {
        let directory = self.arc_tokens.get_or_init(|| tempfile::tempdir().unwrap());
        directory.path()
    }

    pub(super) fn calls(&self, leg: Leg) -> Vec<Call> {
        let history = lock(&self.history);
        let calls = history.calls.iter().filter(|call| call.leg == leg);
        calls.cloned().collect()
    }

    /// The number of the certificate with this thumbprint.
    pub(super) fn certificate_number(&self, thumbprint: &str) -> Option<usize> {
        let history = lock(&self.history);
        let mut certificates = history.certificates.iter();
        let position = certificates.position(|signed| signed.thumbprint == thumbprint);
        position.map(|position| position + 1)
    }

    pub(super) fn certificate(&self, number: usize) -> Option<CertificateRecord> {
        let history = lock(&self.history);
        history.certificates.get(number.checked_sub(1)?).cloned()
    }
}

/// The host's clock.
impl Clock for TestHost {
    fn now(&self) -> SystemTime {
        let jumped = *lock(&self.jumped);
        let distance = Duration::from_secs_f64(jumped.abs());
        if jumped < 0.0 {
            self.true_time() - distance
        } else {
            self.true_time() + distance
        }
    }
}

impl fmt::Debug for TestHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TestHost")
    }
}

/// A request for a bound token with any key.
pub(super) fn unattested(resource: &str) -> TokenRequest {
    let requirements = KeyRequirements::unattested().min_strength(KeyStrength::Software);
    TokenRequest::pop(resource, requirements)
}

/// The start time of every simulated host.
pub(super) fn epoch() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}
