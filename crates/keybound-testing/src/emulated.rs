//! An emulator for each test, and clients of it.
use keybound::http::RequestBody;
use keybound::http::{Request, Response};
use keybound::keys::ProviderChain;
use keybound::tls::{TlsEngine, TrustAnchors};
use keybound::{
    AccessToken, Clock, Environment, Error, ErrorKind, KeyRequirements, KeyStrength,
    ManagedIdentityClient, ManagedIdentityClientBuilder, Result, Stage, TokenRequest,
};
use keybound_emulator::{
    AttestationRule, Config, Emulator, SimulatedAttestation, SimulatedKeyProvider,
};
use keybound_keys::memory::MemoryKeyProvider;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The resource of the emulated Key Vault.
pub const VAULT: &str = "https://vault.azure.net";
/// The resource of the emulated Graph.
pub const GRAPH: &str = "https://graph.microsoft.com";

/// An emulator.
#[non_exhaustive]
pub struct TestHost {
    /// The emulator.
    pub emulator: Arc<Emulator>,
}

#[expect(
    clippy::new_without_default,
    reason = "it starts servers, unlike a default"
)]
impl TestHost {
    /// With the emulator's defaults: attestation required.
    pub fn new() -> Self {
        Self::with(Config::default())
    }

    /// IMDS also issues certificates without attestation.
    pub fn lenient() -> Self {
        let mut config = Config::default();
        config.imds.attestation = AttestationRule::Optional;
        Self::with(config)
    }

    /// With this configuration.
    pub fn with(config: Config) -> Self {
        Self {
            emulator: Arc::new(Emulator::start(config).unwrap()),
        }
    }

    /// A client with a simulated key and attestation, without retries.
    pub fn client(&self) -> ManagedIdentityClient {
        self.builder().build().unwrap()
    }

    /// A builder of such clients.
    pub fn builder(&self) -> ManagedIdentityClientBuilder {
        let attestation = SimulatedAttestation::new(self.trust()).unwrap();
        self.builder_for_memory()
            .key_providers(ProviderChain::new(vec![Arc::new(
                SimulatedKeyProvider::new(),
            )]))
            .attestation(Arc::new(attestation))
    }

    /// A client with a key in memory, without attestation.
    pub fn builder_for_memory(&self) -> ManagedIdentityClientBuilder {
        self.builder_for_platform()
            .key_providers(ProviderChain::new(vec![Arc::new(MemoryKeyProvider::new())]))
    }

    /// A client with the platform's keys.
    pub fn builder_for_platform(&self) -> ManagedIdentityClientBuilder {
        ManagedIdentityClient::builder()
            .tls_engine(TlsEngine::OpenSsl)
            .environment(Environment::empty())
            .imds_endpoint(self.emulator.ready().imds.as_str())
            .trust(self.trust())
            .clock(Arc::new(EmulatorClock(Arc::clone(&self.emulator))))
            .retries(false)
    }

    /// The trust anchors of its clients: the emulator's CA.
    pub fn trust(&self) -> TrustAnchors {
        TrustAnchors::system()
            .with_pem(self.emulator.ca_pem())
            .unwrap()
    }

    /// Injects a fault: once, unless it has a count.
    pub fn inject(&self, fault: &str) {
        let fault = if fault.contains('*') {
            fault.to_owned()
        } else {
            format!("{fault}*1")
        };
        self.emulator.inject(fault.parse().unwrap()).unwrap();
    }

    /// The number of requests of a leg.
    pub fn count(&self, leg: &str) -> u64 {
        self.emulator.counts().get(leg).copied().unwrap_or(0)
    }

    /// A secret in the emulated Key Vault.
    pub fn secret_url(&self) -> String {
        format!(
            "{}/secrets/demo-secret?api-version=7.4",
            self.emulator.ready().vault.trim_end_matches('/')
        )
    }

    /// A collection in the emulated Graph.
    pub fn graph_url(&self) -> String {
        format!(
            "{}/v1.0/applications?$top=1",
            self.emulator.ready().graph.trim_end_matches('/')
        )
    }
}

/// The emulator's clock for the client, so that both advance together.
#[derive(Debug)]
struct EmulatorClock(Arc<Emulator>);

impl Clock for EmulatorClock {
    fn now(&self) -> SystemTime {
        self.0.clock().now()
    }
}

/// A request for an attested, bound token for the vault.
pub fn attested() -> TokenRequest {
    TokenRequest::pop(VAULT, KeyRequirements::attested())
}

/// A request for a bound token for the vault with any key.
pub fn software() -> TokenRequest {
    TokenRequest::pop(
        VAULT,
        KeyRequirements::unattested().min_strength(KeyStrength::Software),
    )
}

/// The error of an acquisition that must fail.
pub async fn failure(client: &ManagedIdentityClient, request: TokenRequest) -> Error {
    client
        .acquire_token(&request)
        .await
        .expect_err("the acquisition should have failed")
}

/// Repeats an attempt with a growing timeout, until a busy machine receives a response within it.
pub async fn with_more_time<T>(attempt: impl AsyncFn(Duration) -> (T, Error)) -> (T, Error) {
    let mut timeout = Duration::from_millis(300);
    loop {
        let (value, error) = attempt(timeout).await;
        if error.kind() != ErrorKind::DeadlineExceeded || timeout > Duration::from_secs(10) {
            return (value, error);
        }
        timeout *= 4;
    }
}

/// Asserts kind and stage of an error.
pub fn assert_failed(error: &Error, kind: ErrorKind, stage: Stage) {
    assert_eq!((error.kind(), error.stage()), (kind, stage), "{error:?}");
}

/// Calls a resource with a bound token.
pub async fn get(token: &AccessToken, url: &str) -> Result<Response> {
    let request = Request::get(url).body(RequestBody::empty()).unwrap();
    token
        .bound_client()?
        .with_timeout(Duration::from_secs(20))
        .send(token, request)
        .await
}
