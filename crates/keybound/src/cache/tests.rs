//! Which clients may share a state.
use crate::keys::ProviderChain;
use crate::tls::{ProxyConfig, TlsEngine, TlsVersions, TrustAnchors, VersionPolicy};
use crate::{
    Environment, ErrorKind, ManagedIdentity, ManagedIdentityClient,
    ManagedIdentityClientBuilder as Builder, ManagedIdentitySource, SharedState,
};
use keybound_keys::memory::MemoryKeyProvider;
use keybound_testing::{Authority, FakeAttestation};
use std::sync::Arc;

type Change = Box<dyn Fn(Builder) -> Builder>;

#[test]
fn rejects_clients_whose_settings_differ() {
    use ManagedIdentitySource::{AppService, CloudShell};
    // Where possible, the two settings of a pair have the same Debug output.
    let system = TrustAnchors::system;
    let authorities = [authority(), authority()];
    let trust = authorities
        .each_ref()
        .map(|pem| system().with_pem(pem).unwrap());
    let loopback = authorities.map(|pem| system().with_loopback_pem(&pem).unwrap());
    let keys = || ProviderChain::new(vec![Arc::new(MemoryKeyProvider::new())]);
    let attestation = || Arc::new(FakeAttestation::default());
    let proxies = ["one", "other"].map(|password| {
        let url = format!("http://user:{password}@proxy.example.com:3128");
        ProxyConfig::from_values(Some(&url), None).unwrap()
    });
    let versions = [TlsVersions::Tls12, TlsVersions::Tls13]
        .map(|versions| VersionPolicy::default().with_host("api.example.com", versions));
    let engines = [TlsEngine::OpenSsl, TlsEngine::SChannel];
    let addresses = ["http://127.0.0.1:1", "http://127.0.0.1:2"];
    let hosts = ["a.example.com", "b.example.com"];
    let of_operator = hosts.map(|host| environment("MSAL_MI_IMDSV2_ALLOWED_HOSTS", host));
    let pairs = vec![
        ("trust", changes(trust, Builder::trust)),
        ("trust", changes(loopback, Builder::trust)),
        (
            "key_providers",
            changes([keys(), keys()], Builder::key_providers),
        ),
        (
            "attestation",
            changes([attestation(), attestation()], |builder, value| {
                builder.attestation(value)
            }),
        ),
        ("proxy", changes(proxies, Builder::proxy)),
        ("tls_versions", changes(versions, Builder::tls_versions)),
        ("tls_engine", changes(engines, Builder::tls_engine)),
        (
            "imds_endpoint",
            changes(addresses, |builder, value| builder.imds_endpoint(value)),
        ),
        (
            "managed_identity_source",
            changes([AppService, CloudShell], Builder::managed_identity_source),
        ),
        (
            "allowed_hosts",
            changes(hosts, |builder, value| builder.allowed_hosts([value])),
        ),
        ("allowed_hosts", changes(of_operator, Builder::environment)),
        (
            "client_capabilities",
            changes(["cp1", "cp2"], |builder, value| {
                builder.client_capabilities([value])
            }),
        ),
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

fn bare(state: &SharedState) -> Builder {
    ManagedIdentityClient::builder()
        .environment(Environment::empty())
        .state(state.clone())
}

/// Two changes of the same setting.
fn changes<T: Clone + 'static>(values: [T; 2], set: fn(Builder, T) -> Builder) -> [Change; 2] {
    values.map(|value| Box::new(move |builder| set(builder, value.clone())) as Change)
}

fn environment(variable: &'static str, value: &'static str) -> Environment {
    Environment::from_lookup(|name| (name == variable).then(|| value.to_owned()))
}

/// A CA certificate with the same name as others.
pub(crate) fn authority() -> Vec<u8> {
    Authority::new("authority").pem()
}
