//! The whole flow with the platform's keys: in memory, or on Windows in CNG, which then signs the CSR and the handshakes. These
//! tests need a host without KeyGuard and TPM.
use keybound::tls::{TlsVersions, VersionPolicy};
use keybound::{AccessToken, Attestation, KeyRequirements, KeyStrength, TokenRequest};
use keybound_emulator::{AttestationRule, Config, TlsVersionRange};
use keybound_testing::emulated::{GRAPH, TestHost, get, software};

#[tokio::test]
async fn platform_key_calls_vault_and_graph_with_both_tls_versions() {
    for (range, requested, negotiated) in [
        (TlsVersionRange::Tls12, TlsVersions::Tls12, "TLSv1.2"),
        (TlsVersionRange::Tls13, TlsVersions::Tls13, "TLSv1.3"),
    ] {
        let host = TestHost::with(config_with(range));
        let client = host
            .builder_for_platform()
            .tls_versions(VersionPolicy::default().with_host("127.0.0.1", requested))
            .build()
            .unwrap();
        for (request, url) in [
            (software(), host.secret_url()),
            (for_graph(), host.graph_url()),
        ] {
            let token = client.acquire_token(&request).await.unwrap();
            check_key(&token);
            let response = get(&token, &url).await.unwrap();
            let info = response.connection().unwrap();
            assert_eq!(
                (response.status().as_u16(), info.tls_version),
                (200, negotiated)
            );
            assert!(info.certificate_requested);
        }
        assert_eq!((host.count("issue"), host.count("token")), (1, 2));
    }
}

#[tokio::test]
async fn platform_key_supports_concurrent_calls() {
    let host = TestHost::lenient();
    let client = host.builder_for_platform().build().unwrap();
    let url = host.secret_url();
    let calls = (0..32).map(|_| async {
        let token = client.acquire_token(&software()).await?;
        get(&token, &url).await
    });
    for response in futures_util::future::join_all(calls).await {
        assert_eq!(response.unwrap().status(), 200);
    }
    assert_eq!((host.count("issue"), host.count("token")), (1, 1));
}

/// On Windows all clients share the key of a name, and IMDS returns the cached certificate to each.
#[tokio::test]
async fn clients_share_a_named_key() {
    let host = TestHost::lenient();
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let client = host.builder_for_platform().build().unwrap();
        tokens.push(client.acquire_token(&software()).await.unwrap());
    }
    let [one, other] = [0, 1].map(|number| tokens[number].binding().unwrap());
    let has_one_key = one.key().public_key_der() == other.key().public_key_der();
    let has_one_certificate = one.certificate().der() == other.certificate().der();
    assert_eq!(
        (has_one_key, has_one_certificate),
        (cfg!(windows), cfg!(windows))
    );
    for token in &tokens {
        let response = get(token, &host.secret_url()).await.unwrap();
        assert_eq!(response.status(), 200);
    }
}

fn config_with(range: TlsVersionRange) -> Config {
    let mut config = Config::default();
    config.imds.attestation = AttestationRule::Optional;
    config.tls.sts = range;
    config.tls.vault = range;
    config.tls.graph = range;
    config
}

fn for_graph() -> TokenRequest {
    let requirements = KeyRequirements::unattested().min_strength(KeyStrength::Software);
    TokenRequest::pop(GRAPH, requirements)
}

fn check_key(token: &AccessToken) {
    let binding = token.binding().unwrap();
    let key = binding.key();
    assert_eq!(binding.key_strength(), KeyStrength::Software);
    assert_eq!(binding.attestation(), Attestation::None);
    assert_eq!(key.cng_handle().is_some(), cfg!(windows));
    let name = cfg!(windows).then_some("KeyboundSoftwareKey");
    assert_eq!(key.persistent_name(), name);
}
