//! Which clients may share a state.
use crate::attestation::{AttestationFuture, AttestationProvider, AttestationRequest};
use crate::keys::ProviderChain;
use crate::tls::{ProxyConfig, TlsEngine, TlsVersions, TrustAnchors, VersionPolicy};
use crate::{
    Environment, ErrorKind, ManagedIdentity, ManagedIdentityClient, ManagedIdentityClientBuilder,
    ManagedIdentitySource, SharedState,
};
use keybound_keys::memory::MemoryKeyProvider;
use keybound_testing::Authority;
use std::sync::Arc;

type Change = Box<dyn Fn(ManagedIdentityClientBuilder) -> ManagedIdentityClientBuilder>;

#[test]
fn rejects_clients_whose_settings_differ() {
    // Where possible, the two settings of a pair have the same Debug output.
    let authorities = [authority(), authority()];
    let pairs: Vec<(&str, [Change; 2])> = vec![
        ("trust", authorities.clone().map(trust)),
        ("trust", authorities.map(loopback_trust)),
        ("key_providers", [keys(), keys()]),
        ("attestation", [attestation(), attestation()]),
        ("proxy", ["one", "other"].map(proxy)),
        (
            "tls_versions",
            [TlsVersions::Tls12, TlsVersions::Tls13].map(versions),
        ),
        (
            "tls_engine",
            [TlsEngine::OpenSsl, TlsEngine::SChannel].map(engine),
        ),
        (
            "imds_endpoint",
            ["http://127.0.0.1:1", "http://127.0.0.1:2"].map(imds),
        ),
        (
            "managed_identity_source",
            [
                ManagedIdentitySource::AppService,
                ManagedIdentitySource::CloudShell,
            ]
            .map(source),
        ),
        (
            "allowed_hosts",
            ["a.example.com", "b.example.com"].map(hosts),
        ),
        (
            "allowed_hosts",
            ["a.example.com", "b.example.com"].map(operator_hosts),
        ),
        ("client_capabilities", ["cp1", "cp2"].map(capabilities)),
    ];
    for (setting, [one, other]) in pairs {
        let state = SharedState::new();
        assert!(one(bare(&state)).build().is_ok(), "{setting}");
        for rejected in [other(bare(&state)), bare(&state)] {
            let error = rejected.build().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{setting}");
            let differs = format!("`{setting}` differs");
            assert!(error.to_string().ends_with(&differs), "{error}: {setting}");
        }
        assert!(
            one(bare(&state)).build().is_ok(),
            "{setting}: the same again"
        );
    }
}

#[test]
fn clients_may_differ_in_settings_that_change_no_result() {
    let state = SharedState::new();
    let identity = ManagedIdentity::client_id("11111111-2222-4333-8444-555555555555").unwrap();
    for client in [
        bare(&state),
        bare(&state).identity(identity),
        bare(&state).retries(false),
        bare(&state).key_providers(ProviderChain::platform()),
        bare(&state).environment(environment("MSAL_MI_DISABLE_IMDS_V2", "1")),
        bare(&state).environment(environment("MSAL_MI_DISABLE_PERSISTENT_CERT_CACHE", "1")),
        bare(&state).environment(environment("MSAL_MI_IMDSV2_ALLOWED_HOSTS", " ")),
    ] {
        let built: Result<ManagedIdentityClient, _> = client.build();
        assert!(built.is_ok(), "{built:?}");
    }
}

fn bare(state: &SharedState) -> ManagedIdentityClientBuilder {
    ManagedIdentityClient::builder()
        .environment(Environment::empty())
        .state(state.clone())
}

fn trust(pem: Vec<u8>) -> Change {
    let anchors = TrustAnchors::system().with_pem(&pem).unwrap();
    Box::new(move |builder| builder.trust(anchors.clone()))
}

fn loopback_trust(pem: Vec<u8>) -> Change {
    let anchors = TrustAnchors::system().with_loopback_pem(&pem).unwrap();
    Box::new(move |builder| builder.trust(anchors.clone()))
}

fn keys() -> Change {
    let chain = ProviderChain::new(vec![Arc::new(MemoryKeyProvider::new())]);
    Box::new(move |builder| builder.key_providers(chain.clone()))
}

fn attestation() -> Change {
    let provider = Arc::new(UnusedAttestation);
    Box::new(move |builder| builder.attestation(Arc::clone(&provider) as _))
}

fn proxy(password: &'static str) -> Change {
    let url = format!("http://user:{password}@proxy.example.com:3128");
    let proxy = ProxyConfig::from_values(Some(&url), None).unwrap();
    Box::new(move |builder| builder.proxy(proxy.clone()))
}

fn versions(versions: TlsVersions) -> Change {
    let policy = VersionPolicy::default().with_host("api.example.com", versions);
    Box::new(move |builder| builder.tls_versions(policy.clone()))
}

fn engine(engine: TlsEngine) -> Change {
    Box::new(move |builder| builder.tls_engine(engine))
}

fn source(source: ManagedIdentitySource) -> Change {
    Box::new(move |builder| builder.managed_identity_source(source))
}

fn imds(url: &'static str) -> Change {
    Box::new(move |builder| builder.imds_endpoint(url))
}

fn hosts(host: &'static str) -> Change {
    Box::new(move |builder| builder.allowed_hosts([host]))
}

fn operator_hosts(list: &'static str) -> Change {
    Box::new(move |builder| builder.environment(environment("MSAL_MI_IMDSV2_ALLOWED_HOSTS", list)))
}

fn environment(variable: &'static str, value: &'static str) -> Environment {
    Environment::from_lookup(|name| (name == variable).then(|| value.to_owned()))
}

fn capabilities(capability: &'static str) -> Change {
    Box::new(move |builder| builder.client_capabilities([capability]))
}

#[derive(Debug)]
struct UnusedAttestation;

impl AttestationProvider for UnusedAttestation {
    fn attest<'a>(&'a self, _: AttestationRequest<'a>) -> AttestationFuture<'a> {
        unreachable!("no token is requested")
    }
}

/// A CA certificate with the same name as others.
pub(crate) fn authority() -> Vec<u8> {
    Authority::new("authority").pem()
}
