//! The API of the guide docs/resource.md, as the page has it but for the values that `build.rs` replaces: a client calls it over TLS.
// It listens on a loopback address that other systems do not have.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use keybound::tls::TrustAnchors;
use keybound::{AccessToken, KeyRequirements, KeyStrength};
use keybound_emulator::{AttestationRule, Config, Emulator};
use keybound_examples::Platform;
use keybound_resource::fetch::HttpsSettings;
use keybound_resource::{Guid, VerifierBuilder};
use keybound_testing::Authority;
use reqwest::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use reqwest::{Client, Response};
use rustls::crypto::ring;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::LazyLock;
use std::thread::{self, JoinHandle};

#[allow(unused_imports, reason = "what the replaced values need")]
mod guide {
    include!(concat!(env!("OUT_DIR"), "/axum_guide.rs"));

    pub fn run() -> Result<(), String> {
        main().map_err(|error| error.to_string())
    }
}

#[tokio::test]
async fn api_of_the_guide_accepts_the_owner_of_the_token_only() {
    let folder = tempfile::tempdir().unwrap();
    let trust = PLATFORM.trust().unwrap();
    let trust = trust.with_pem(&server_certificate(folder.path())).unwrap();
    // The API reads its certificate from there.
    std::env::set_current_dir(folder.path()).unwrap();
    wait_until_it_listens(&thread::spawn(guide::run));

    let token = token(&trust, KeyRequirements::attested()).await;
    let response = who(&token, None).await;
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()[WWW_AUTHENTICATE], "mtls_pop realm=\"\"");
    let response = who(&token, Some(&token)).await;
    assert_eq!(response.status(), 200, "{:?}", response.headers());
    let body = response.text().await.unwrap();
    assert!(body.ends_with(&format!(" in {TENANT}")), "{body}");

    let software = KeyRequirements::unattested().min_strength(KeyStrength::Software);
    let other = self::token(&trust, software).await;
    assert_eq!(who(&other, Some(&token)).await.status(), 401);
}

/// Calls the API with the certificate of a token.
async fn who(presented: &AccessToken, token: Option<&AccessToken>) -> Response {
    let binding = presented.binding().unwrap().rustls();
    let tls = binding.client_config(ring::default_provider()).unwrap();
    let client = Client::builder()
        .tls_backend_preconfigured(tls)
        .resolve("localhost", address())
        .build()
        .unwrap();
    let url = format!("https://localhost:{}/who", address().port());
    let mut request = client.get(url);
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, token.authorization().expose());
    }
    request.send().await.unwrap()
}

async fn token(trust: &TrustAnchors, requirements: KeyRequirements) -> AccessToken {
    let client = PLATFORM.client().unwrap().trust(trust.clone());
    let client = client.build().unwrap();
    client.pop_token(AUDIENCE, requirements).await.unwrap()
}

/// Writes the files of the server to a folder. Returns the CA certificate for clients.
fn server_certificate(folder: &Path) -> Vec<u8> {
    let authority = Authority::new("guide");
    let leaf = authority.server("localhost");
    let certificate = leaf.certificate.to_pem().unwrap();
    let key = leaf.key.private_key_to_pem_pkcs8().unwrap();
    std::fs::write(folder.join("server.crt"), certificate).unwrap();
    std::fs::write(folder.join("server.key"), key).unwrap();
    authority.pem()
}

/// The API says nothing when it listens.
fn wait_until_it_listens(api: &JoinHandle<Result<(), String>>) {
    while TcpStream::connect(address()).is_err() {
        assert!(!api.is_finished(), "the API ended");
        thread::yield_now();
    }
}

/// What the page has as `Verifier::builder()`.
fn verifier_builder() -> VerifierBuilder {
    PLATFORM.verifier_builder()
}

/// What the page has as `HttpsSettings::default()`.
fn https_settings() -> HttpsSettings {
    PLATFORM.https_settings().unwrap()
}

/// What the page has as `"0.0.0.0:443"`: of this process alone, so that no other one takes the port before the API does.
fn address() -> SocketAddr {
    static ADDRESS: LazyLock<SocketAddr> = LazyLock::new(|| {
        let [_, a, b, c] = std::process::id().to_be_bytes();
        let free = TcpListener::bind((Ipv4Addr::new(127, a, b, c), 0)).unwrap();
        free.local_addr().unwrap()
    });
    *ADDRESS
}

/// Entra, with the tenant of the page.
static PLATFORM: LazyLock<Platform> = LazyLock::new(|| {
    let mut config = Config::default();
    config.tenant_id = Guid::parse(TENANT).unwrap();
    // Otherwise tokens for this audience are of version 2, and name the client id of the API.
    config.resources.clear();
    config.imds.attestation = AttestationRule::Optional;
    Platform::Emulator(Emulator::start(config).unwrap())
});

/// Those of the page.
const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const AUDIENCE: &str = "api://orders.contoso.com";
