//! The whole flow with the keys that this platform offers: in memory, or on Windows in CNG, which then signs the request and
//! the handshakes. These tests are for hosts with neither KeyGuard nor a TPM.
use crate::world::{GRAPH, World, get, software};
use keybound::tls::{TlsVersions, VersionPolicy};
use keybound::{AccessToken, Attestation, KeyRequirements, KeyStrength, TokenRequest};
use keybound_emulator::{AttestationRule, Config, TlsVersionRange};

#[tokio::test]
async fn a_key_of_the_platform_reaches_the_vault_and_graph_by_either_version() {
    for (range, asked, spoken) in [
        (TlsVersionRange::Tls12, TlsVersions::Tls12, "TLSv1.2"),
        (TlsVersionRange::Tls13, TlsVersions::Tls13, "TLSv1.3"),
    ] {
        let world = World::with(speaking(range));
        let client = world
            .builder_for_platform()
            .tls_versions(VersionPolicy::default().with_host("127.0.0.1", asked))
            .build()
            .unwrap();
        for (request, url) in [
            (software(), world.secret_url()),
            (for_graph(), world.graph_url()),
        ] {
            let token = client.acquire_token(&request).await.unwrap();
            check_key(&token);
            let answer = get(&token, &url).await.unwrap();
            let info = answer.connection().unwrap();
            assert_eq!((answer.status().as_u16(), info.tls_version), (200, spoken));
            assert!(info.certificate_requested);
        }
        assert_eq!((world.count("issue"), world.count("token")), (1, 2));
    }
}

#[tokio::test]
async fn a_key_of_the_platform_serves_many_at_once() {
    let world = World::lenient();
    let client = world.builder_for_platform().build().unwrap();
    let url = world.secret_url();
    let calls = (0..32).map(|_| async {
        let token = client.acquire_token(&software()).await?;
        get(&token, &url).await
    });
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!(answer.unwrap().status(), 200);
    }
    assert_eq!((world.count("issue"), world.count("token")), (1, 1));
}

/// On Windows the key is one by its name, for all clients, and IMDS answers each with the certificate that it has.
#[tokio::test]
async fn clients_share_a_key_that_has_a_name() {
    let world = World::lenient();
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let client = world.builder_for_platform().build().unwrap();
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
        let answer = get(token, &world.secret_url()).await.unwrap();
        assert_eq!(answer.status(), 200);
    }
}

fn speaking(range: TlsVersionRange) -> Config {
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
