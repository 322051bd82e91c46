//! The simulated key and its attestation, against a running emulator.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

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
fn a_simulated_key_stands_for_keyguard_and_says_so() {
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
async fn a_simulated_key_is_attested_over_tls() {
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
        "the connection is kept"
    );
    assert_eq!(emulator.records()[0].tls_version, Some("TLSv1.3"));
}

#[tokio::test]
async fn what_is_not_simulated_or_not_on_loopback_is_refused_before_a_byte_is_sent() {
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
            (ErrorKind::SimulatedRefused, Stage::Attestation),
            "{endpoint}"
        );
    }
    assert!(emulator.records().is_empty());
}

#[tokio::test]
async fn each_failure_has_its_kind_and_the_stage_attestation() {
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
            ErrorKind::RedirectRefused,
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
        "it does not recover"
    );
}

#[tokio::test]
async fn a_server_that_is_not_the_emulators_is_not_trusted() {
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
async fn nobody_there_is_unreachable_and_retryable() {
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
async fn no_token_shows_in_what_goes_wrong() {
    let emulator = Emulator::start(Config::default()).unwrap();
    let provider = provider(&emulator);
    fault(&emulator, "attest=set-field:token=[\"c3dvcmRmaXNo\"]*1");
    let error = attest(&provider, &emulator.ready().maa, &*KEY)
        .await
        .unwrap_err();
    assert!(!format!("{error} {error:?}").contains("c3dvcmRmaXNo"));
    assert!(!format!("{provider:?}").contains("PRIVATE"));
}
