//! The capabilities of a host, against the emulator.
use keybound::capabilities::{AttestationSupport, OperatingSystem, SecurityType, SourceReason};
use keybound::keys::ProviderChain;
use keybound::tls::TrustAnchors;
use keybound::{ErrorKind, KeyStrength, ManagedIdentitySource, blocking};
use keybound_emulator::{Config, OsType, SimulatedKeyProvider};
use keybound_testing::emulated::TestHost;
use std::sync::Arc;

#[test]
fn answers_without_a_runtime_and_sends_each_request_once() {
    let host = TestHost::new();
    let client = blocking::ManagedIdentityClient::new(host.client());
    for _ in 0..2 {
        let found = client.capabilities().unwrap();
        assert_eq!(found.source, ManagedIdentitySource::Imds);
        assert_eq!(found.source_reason, SourceReason::ImdsEndpoint);
        let imds = found.imds.unwrap();
        assert_eq!((imds.v1, imds.v2), (Some(true), Some(true)));
        assert_eq!(found.operating_system, OperatingSystem::Windows);
        let security = found.security.unwrap();
        assert_eq!(security.security_type, Some(SecurityType::TrustedLaunch));
        assert_eq!(found.strongest_binding, Some(KeyStrength::KeyGuard));
        // The key of the emulator protects nothing.
        assert!(found.simulated_key);
        assert!(matches!(found.attestation, AttestationSupport::Simulated));
    }
    let counts = ["probe", "instance", "metadata", "issue", "token", "attest"];
    assert_eq!(counts.map(|leg| host.count(leg)), [1, 1, 0, 0, 0, 0]);
}

#[tokio::test]
async fn v1_of_the_emulator_is_found_when_v2_is_missing() {
    let host = TestHost::new();
    host.inject("probe=status:404*always");
    let found = host.client().capabilities().await;
    let imds = found.imds.unwrap();
    assert_eq!((imds.v1, imds.v2), (Some(true), Some(false)));
    assert_eq!(found.strongest_key, Some(KeyStrength::KeyGuard));
    assert_eq!(found.strongest_binding, None);
    let why = found.why_not_stronger.unwrap();
    assert_eq!(why.kind(), ErrorKind::ImdsV2Unavailable);
}

#[tokio::test]
async fn software_key_on_linux_is_no_keyguard_key() {
    let mut config = Config::default();
    config.compute.os_type = OsType::Linux;
    config.compute.security_type = String::new();
    let host = TestHost::with(config);
    let client = host.builder_for_memory().build().unwrap();
    let found = client.capabilities().await;
    assert_eq!(found.operating_system, OperatingSystem::Linux);
    assert_eq!(found.security.unwrap().security_type, None);
    assert_eq!(found.strongest_binding, Some(KeyStrength::Software));
    assert_eq!(
        found.why_not_stronger.unwrap().kind(),
        ErrorKind::KeyTooWeak
    );
}

#[tokio::test]
async fn simulated_key_outside_the_emulator_is_no_capability() {
    let host = TestHost::new();
    let providers = ProviderChain::new(vec![Arc::new(SimulatedKeyProvider::new())]);
    // Without the emulator's CA as a trust anchor.
    let builder = host.builder_for_platform().key_providers(providers);
    let client = builder.trust(TrustAnchors::system()).build().unwrap();
    let found = client.capabilities().await;
    assert_eq!((found.strongest_key, found.simulated_key), (None, false));
    let why = found.why_not_stronger.unwrap();
    assert_eq!(why.kind(), ErrorKind::SimulatedNotAllowed);
}
