//! An emulator, one client, and what must be true of both in the end.
use keybound::tls::{TlsEngine, TrustAnchors};
use keybound::{
    AccessToken, Clock, Environment, KeyRequirements, KeyStrength, ManagedIdentityClient,
    SystemClock, TokenRequest,
};
use keybound_emulator::{AttestationRule, Config, Emulator};
use std::sync::{Arc, Weak};

pub const CALLERS: usize = 10_000;
pub const RESOURCES: usize = 200;

pub struct Crowd {
    emulator: Emulator,
    client: ManagedIdentityClient,
    held_by_client: Weak<dyn Clock>,
}

impl Crowd {
    pub fn new() -> Self {
        let mut config = Config::default();
        config.imds.attestation = AttestationRule::Optional;
        let emulator = Emulator::start(config).unwrap();
        let trust = TrustAnchors::system().with_pem(emulator.ca_pem()).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let held_by_client = Arc::downgrade(&clock);
        let client = ManagedIdentityClient::builder()
            .tls_engine(TlsEngine::OpenSsl)
            .environment(Environment::empty())
            .imds_endpoint(emulator.ready().imds.as_str())
            .trust(trust)
            .clock(clock)
            .retries(false)
            .build()
            .unwrap();
        Self {
            emulator,
            client,
            held_by_client,
        }
    }

    pub fn client(&self) -> &ManagedIdentityClient {
        &self.client
    }

    pub fn request(&self, resource: usize) -> TokenRequest {
        TokenRequest::pop(
            name(resource),
            KeyRequirements::unattested().min_strength(KeyStrength::Software),
        )
    }

    pub fn inject(&self, fault: &str) {
        self.emulator.inject(fault.parse().unwrap()).unwrap();
    }

    pub fn clear_faults(&self) {
        self.emulator.clear_faults();
    }

    /// How many requests came on a leg.
    pub fn count(&self, leg: &str) -> usize {
        let count = self.emulator.counts().get(leg).copied();
        usize::try_from(count.unwrap_or(0)).unwrap()
    }

    pub fn assert_counts(&self, metadata: usize, issue: usize, token: usize) {
        assert_eq!(
            ["metadata", "issue", "token"].map(|leg| self.count(leg)),
            [metadata, issue, token]
        );
    }

    /// Asks the client and the service: the scope, and the audience of the token itself.
    pub fn assert_for(&self, resource: usize, token: &AccessToken) {
        assert_eq!(token.scope().resource(), name(resource));
        let claims = token.unverified_claims().unwrap();
        assert_eq!(claims.text("aud"), Some(&*name(resource)));
        assert!(token.binding().is_some());
    }

    /// Executions and tasks hold what the client holds. Without either, it is freed.
    pub fn assert_nothing_is_left(self) {
        drop(self.client);
        assert_eq!(self.held_by_client.strong_count(), 0);
    }
}

fn name(resource: usize) -> String {
    format!("https://resource-{resource}.example.net")
}
