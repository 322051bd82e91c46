//! The simulated key and its attestation, against a running emulator.
#![expect(clippy::unwrap_used, reason = "a test fails on an unexpected error")]

use keybound_attestation::{AttestationProvider as _, AttestationRequest};
use keybound_core::{AttestationToken, Error, ErrorKind, Guid, Result, Stage, UnverifiedJwt};
use keybound_emulator::{
    Config, Emulator, SimulatedAttestation, SimulatedKey, SimulatedKeyProvider,
};
use keybound_keys::memory::MemoryKey;
use keybound_keys::{BindingKey, KeyProvider as _, KeyStrength};
use keybound_transport::TrustAnchors;
use std::sync::LazyLock;
use url::Url;

static KEY: LazyLock<SimulatedKey> = LazyLock::new(|| SimulatedKey::generate().unwrap());

fn provider(emulator: &Emulator) -> SimulatedAttestation {
    let trust = TrustAnchors::system()
        .with_loopback_pem(emulator.ca_pem())
        .unwrap();
    SimulatedAttestation::new(trust).unwrap()
}

async fn attest(
    provider: &SimulatedAttestation,
    endpoint: &str,
    key: &dyn BindingKey,
) -> Result<AttestationToken> {
    let endpoint: Url = endpoint.parse().unwrap();
    let client_id = Guid::parse("11111111-1111-4111-8111-111111111111").unwrap();
    provider
        .attest(AttestationRequest::new(&endpoint, key, &client_id))
        .await
}

fn fault(emulator: &Emulator, text: &str) {
    emulator.inject(text.parse().unwrap()).unwrap();
}

#[test]
fn simulated_key_has_the_strength_of_keyguard_and_is_simulated() {
    let key = SimulatedKeyProvider::new().open().unwrap();
    assert_eq!(
        SimulatedKeyProvider::new().strength(),
        KeyStrength::KeyGuard
    );
    assert_eq!(key.strength(), KeyStrength::KeyGuard);
    assert!(key.is_simulated() && key.id().starts_with("simulated:"));
    assert!(key.attestation_evidence().is_some());
    keybound_keys::self_test(&*key).unwrap();
    assert_ne!(SimulatedKeyProvider::new().open().unwrap().id(), key.id());
    let shown = format!("{key:?}");
    assert!(
        shown.starts_with("SimulatedKey") && shown.len() < 200,
        "{shown}"
    );
}

#[tokio::test]
async fn attests_a_simulated_key_over_tls() {
    let emulator = Emulator::start(Config::default()).unwrap();
    let provider = provider(&emulator);
    assert!(provider.is_simulated());
    for endpoint in [
        emulator.ready().maa.clone(),
        format!("{}/", emulator.ready().maa),
    ] {
        let token = attest(&provider, &endpoint, &*KEY).await.unwrap();
        let claims = UnverifiedJwt::parse(token.expose()).unwrap().claims;
        assert_eq!(claims["simulated"], true);
        assert_eq!(claims["iss"], emulator.ready().maa.as_str());
    }
    let counts = emulator.counts();
    assert_eq!(
        (counts["attest"], counts["attest-tls"]),
        (2, 1),
        "the connection is reused"
    );
    assert_eq!(emulator.records()[0].tls_version, Some("TLSv1.3"));
}

#[tokio::test]
async fn rejects_real_keys_and_remote_endpoints_before_sending() {
    let emulator = Emulator::start(Config::default()).unwrap();
    let provider = provider(&emulator);
    let real = MemoryKey::generate().unwrap();
    let error = attest(&provider, &emulator.ready().maa, &real)
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.stage()),
        (ErrorKind::AttestationUnavailable, Stage::Attestation)
    );
    for endpoint in [
        "https://maa.attest.azure.net",
        "https://10.0.0.1:1",
        "https://localhost.example:1",
        "http://127.0.0.1:1",
    ] {
        let error = attest(&provider, endpoint, &*KEY).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.stage()),
            (ErrorKind::SimulatedNotAllowed, Stage::Attestation),
            "{endpoint}"
        );
    }
    assert!(emulator.records().is_empty());
}

#[tokio::test]
async fn maps_failures_to_error_kinds_of_the_attestation_stage() {
    let emulator = Emulator::start(Config::default()).unwrap();
    let provider = provider(&emulator);
    let failing = async |text: &str| -> Error {
        fault(&emulator, text);
        let error = attest(&provider, &emulator.ready().maa, &*KEY)
            .await
            .unwrap_err();
        assert_eq!(error.stage(), Stage::Attestation, "{text}");
        error
    };
    for (text, kind, status, retryable) in [
        (
            "attest=status:503*1",
            ErrorKind::AttestationFailed,
            Some(503),
            true,
        ),
        (
            "attest=status:429*1",
            ErrorKind::AttestationFailed,
            Some(429),
            true,
        ),
        (
            "attest=status:400*1",
            ErrorKind::AttestationFailed,
            Some(400),
            false,
        ),
        (
            "attest=redirect*1",
            ErrorKind::RedirectNotAllowed,
            Some(307),
            false,
        ),
        ("attest=html*1", ErrorKind::AttestationFailed, None, false),
        (
            "attest=garbage*1",
            ErrorKind::AttestationFailed,
            None,
            false,
        ),
        (
            "attest=garbage-token*1",
            ErrorKind::AttestationFailed,
            None,
            false,
        ),
        (
            "attest=missing-field:token*1",
            ErrorKind::AttestationFailed,
            None,
            false,
        ),
        (
            "attest=set-field:token=\"\"*1",
            ErrorKind::AttestationFailed,
            None,
            false,
        ),
        (
            "attest=oversized*1",
            ErrorKind::ResponseTooLarge,
            None,
            false,
        ),
        (
            "attest=truncated*1",
            ErrorKind::AttestationFailed,
            None,
            true,
        ),
        (
            "attest=not-http*1",
            ErrorKind::AttestationFailed,
            None,
            true,
        ),
        ("attest=close*1", ErrorKind::AttestationFailed, None, true),
        ("attest=reset*1", ErrorKind::AttestationFailed, None, true),
    ] {
        let error = failing(text).await;
        assert_eq!(
            (error.kind(), error.status(), error.is_retryable()),
            (kind, status, retryable),
            "{text}: {error:?}"
        );
    }
    assert!(
        attest(&provider, &emulator.ready().maa, &*KEY)
            .await
            .is_ok(),
        "the next request succeeds"
    );
}

#[tokio::test]
async fn rejects_untrusted_server_certificates() {
    let (emulator, other) = (
        Emulator::start(Config::default()).unwrap(),
        Emulator::start(Config::default()).unwrap(),
    );
    let error = attest(&provider(&other), &emulator.ready().maa, &*KEY)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ServerCertificateInvalid);
    for text in ["untrusted", "expired", "other-name"] {
        fault(
            &emulator,
            &format!("attest-tls=server-certificate:{text}*1"),
        );
        let error = attest(&provider(&emulator), &emulator.ready().maa, &*KEY)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ServerCertificateInvalid, "{text}");
    }
    assert!(emulator.records().is_empty());
}

#[tokio::test]
async fn stopped_service_is_unreachable_and_retryable() {
    let emulator = Emulator::start(Config::default()).unwrap();
    let (provider, maa) = (provider(&emulator), emulator.ready().maa.clone());
    drop(emulator);
    let error = attest(&provider, &maa, &*KEY).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.is_retryable()),
        (ErrorKind::Unreachable, true)
    );
}

#[tokio::test]
async fn errors_contain_no_token() {
    let emulator = Emulator::start(Config::default()).unwrap();
    let provider = provider(&emulator);
    fault(&emulator, "attest=set-field:token=[\"c3dvcmRmaXNo\"]*1");
    let error = attest(&provider, &emulator.ready().maa, &*KEY)
        .await
        .unwrap_err();
    assert!(!format!("{error} {error:?}").contains("c3dvcmRmaXNo"));
    assert!(!format!("{provider:?}").contains("PRIVATE"));
}
