//! Properties of every parser of untrusted input: it does not panic, the values that it returns are valid, and its errors
//! contain neither control characters nor secrets.
//!
//! Each function is the body of one fuzz target. Secrets in the seeds are the word [`CANARY`], which must never be output.

mod certificates;
mod check;
mod handshakes;
mod proxies;
mod resource;
mod responses;
mod sources;
mod texts;
mod tokens;
mod verify;

pub use certificates::{certificate, rsa_public_blob, signing_request, trust_anchors};
pub use check::CANARY;
pub use handshakes::server_handshake;
pub use keybound_emulator::fuzz::{
    attestation as emulator_attestation, config as emulator_config, csr as emulator_csr,
    fault as emulator_fault, request as emulator_request, source as emulator_source,
    token_not_after as emulator_token_not_after,
};
pub use proxies::{environment_proxy, proxy_response, system_proxy};
pub use resource::{
    resource_certificate_header, resource_key_set, resource_metadata, resource_token, resource_xfcc,
};
pub use responses::{compute_document, credential, metadata, service_error, token_response};
pub use sources::{arc_challenge, source_environment, source_response};
pub use texts::{challenge, claims, endpoint, guid, identity, redact, scope, thumbprint};
pub use tokens::{attestation_token, jwt};
pub use verify::{verify_check_request, verify_config};

/// The body of a target.
pub type Target = fn(&[u8]);

/// All targets by name; their seeds are in `fuzz/seeds/<name>/`.
pub const TARGETS: &[(&str, Target)] = &[
    ("arc_challenge", arc_challenge),
    ("attestation_token", attestation_token),
    ("certificate", certificate),
    ("challenge", challenge),
    ("claims", claims),
    ("compute_document", compute_document),
    ("credential", credential),
    ("emulator_attestation", emulator_attestation),
    ("emulator_config", emulator_config),
    ("emulator_csr", emulator_csr),
    ("emulator_fault", emulator_fault),
    ("emulator_request", emulator_request),
    ("emulator_source", emulator_source),
    ("emulator_token_not_after", emulator_token_not_after),
    ("endpoint", endpoint),
    ("environment_proxy", environment_proxy),
    ("guid", guid),
    ("identity", identity),
    ("jwt", jwt),
    ("metadata", metadata),
    ("proxy_response", proxy_response),
    ("redact", redact),
    ("resource_certificate_header", resource_certificate_header),
    ("resource_key_set", resource_key_set),
    ("resource_metadata", resource_metadata),
    ("resource_token", resource_token),
    ("resource_xfcc", resource_xfcc),
    ("rsa_public_blob", rsa_public_blob),
    ("scope", scope),
    ("server_handshake", server_handshake),
    ("service_error", service_error),
    ("signing_request", signing_request),
    ("source_environment", source_environment),
    ("source_response", source_response),
    ("system_proxy", system_proxy),
    ("thumbprint", thumbprint),
    ("token_response", token_response),
    ("trust_anchors", trust_anchors),
    ("verify_check_request", verify_check_request),
    ("verify_config", verify_config),
];

#[cfg(test)]
mod tests {
    //! Valid seeds are accepted: otherwise the properties of valid values would never be checked.
    use crate::check::{CERTIFICATE, CLIENT, PUBLIC_KEY, identities, now};
    use keybound_core::source::{
        ArcChallenge, ArcPlatform, SourceEndpoint, SourceToken, SourceVariables,
    };
    use keybound_core::{
        AttestationToken, Certificate, Challenge, Claims, ComputeDocument, EndpointPolicy, Guid,
        IssuedCredential, ManagedIdentity, ManagedIdentitySource, PlatformMetadata, SecretString,
        ServiceError, TokenResponse, TokenType, check_binding,
    };
    use keybound_transport::ProxyConfig;

    macro_rules! seed {
        ($name:literal) => {
            include_bytes!(concat!("../../seeds/", $name))
        };
    }

    fn text(seed: &[u8]) -> &str {
        std::str::from_utf8(seed).unwrap()
    }

    #[test]
    fn responses() {
        let policy = EndpointPolicy::default();
        let loopback = EndpointPolicy::new(true);
        assert!(PlatformMetadata::parse(seed!("metadata/vm"), &policy).is_ok());
        assert!(PlatformMetadata::parse(seed!("metadata/scale_set"), &policy).is_ok());
        assert!(PlatformMetadata::parse(seed!("metadata/loopback"), &policy).is_err());
        assert!(PlatformMetadata::parse(seed!("metadata/loopback"), &loopback).is_ok());
        for (body, is_capable) in [
            (&seed!("compute_document/trusted_launch")[..], true),
            (seed!("compute_document/confidential"), true),
            (seed!("compute_document/plain"), false),
            (seed!("compute_document/linux"), false),
            (seed!("compute_document/other_types"), false),
        ] {
            let document = ComputeDocument::parse(body).unwrap();
            assert_eq!(document.check_keyguard().is_ok(), is_capable);
        }
        for identity in identities() {
            for body in [
                &seed!("credential/issued")[..],
                seed!("credential/token_endpoint"),
                seed!("credential/wrapped"),
            ] {
                IssuedCredential::parse(body, PUBLIC_KEY, &identity, &policy, now()).unwrap();
            }
        }
        assert!(TokenResponse::parse(seed!("token_response/bound"), TokenType::MtlsPop).is_ok());
        assert!(TokenResponse::parse(seed!("token_response/bearer"), TokenType::Bearer).is_ok());
        assert!(PlatformMetadata::parse(seed!("metadata/byte_order_mark"), &policy).is_ok());
        for body in [
            &seed!("token_response/odd_refresh_in")[..],
            seed!("token_response/odd_expires_in"),
        ] {
            let response = TokenResponse::parse(body, TokenType::MtlsPop).unwrap();
            assert_eq!(
                (response.expires_in.as_secs(), response.refresh_in),
                (86399, None)
            );
        }
        let error = ServiceError::parse(seed!("service_error/entra")).unwrap();
        assert_eq!(error.codes, [1_000_610]);
    }

    #[test]
    fn sources() {
        let client = ManagedIdentity::client_id(CLIENT).unwrap();
        let now = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        for (body, life) in [
            (&seed!("source_response/imds")[..], 28_800),
            (seed!("source_response/date"), 3_600),
            (seed!("source_response/iso_8601"), 3_600),
            (seed!("source_response/jwt"), 1_000),
        ] {
            let token = SourceToken::parse(body, ManagedIdentitySource::Imds, &client, now);
            assert_eq!(token.unwrap().life.as_secs(), life);
        }
        for (seed, source) in [
            (
                &seed!("source_environment/app_service")[..],
                ManagedIdentitySource::AppService,
            ),
            (
                seed!("source_environment/service_fabric"),
                ManagedIdentitySource::ServiceFabric,
            ),
            (
                seed!("source_environment/azure_arc"),
                ManagedIdentitySource::AzureArc,
            ),
            (
                seed!("source_environment/machine_learning"),
                ManagedIdentitySource::MachineLearning,
            ),
            (
                seed!("source_environment/cloud_shell"),
                ManagedIdentitySource::CloudShell,
            ),
        ] {
            let lines: Vec<_> = text(seed)
                .lines()
                .filter_map(|line| line.split_once('='))
                .collect();
            let lookup = |name: &str| {
                let found = lines.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            let variables = SourceVariables::new(lookup, false);
            assert_eq!(variables.detect(), source);
            let imds = url::Url::parse("http://169.254.169.254").unwrap();
            assert!(SourceEndpoint::new(source, &variables, &imds).is_ok());
        }
        let folder = "/var/opt/azcmagent/tokens";
        for seed in [
            &seed!("arc_challenge/linux")[..],
            seed!("arc_challenge/quoted"),
        ] {
            ArcChallenge::parse([seed], folder, ArcPlatform::Linux).unwrap();
        }
        ArcChallenge::parse(
            [&seed!("arc_challenge/parent")[..]],
            folder,
            ArcPlatform::Linux,
        )
        .unwrap_err();
    }

    #[test]
    fn certificates_and_tokens() {
        let issued = Certificate::from_der(seed!("certificate/issued")).unwrap();
        assert_eq!(issued, *CERTIFICATE);
        assert_eq!(seed!("signing_request/rsa_2048"), PUBLIC_KEY);
        let blob = keybound_keys::fuzz::rsa_public_blob(seed!("rsa_public_blob/rsa_2048"));
        assert_eq!(blob.unwrap(), PUBLIC_KEY);
        let blob = keybound_keys::fuzz::rsa_public_key(PUBLIC_KEY);
        assert_eq!(blob.unwrap(), seed!("rsa_public_blob/rsa_2048"));
        let token = SecretString::new(text(seed!("jwt/bound")).to_owned());
        check_binding(&token, &CERTIFICATE).unwrap();
        AttestationToken::new(text(seed!("attestation_token/jwt")).to_owned()).unwrap();
    }

    #[test]
    fn texts() {
        assert!(Claims::parse(text(seed!("claims/challenge"))).is_ok());
        for seed in [
            &seed!("challenge/graph")[..],
            seed!("challenge/bare"),
            seed!("challenge/utf_8"),
            seed!("challenge/latin_1"),
        ] {
            let challenges = Challenge::parse_all(seed);
            assert!(
                challenges
                    .iter()
                    .any(|challenge| challenge.claims().is_some())
            );
        }
        assert_eq!(Guid::parse(CLIENT), Guid::parse(text(seed!("guid/lower"))));
        assert!(Guid::parse(text(seed!("guid/upper"))).is_some());
        assert!(ManagedIdentity::client_id(text(seed!("identity/client_id"))).is_ok());
        assert!(ManagedIdentity::resource_id(text(seed!("identity/resource_id"))).is_ok());
    }

    #[test]
    fn proxies() {
        let route = |seed: &[u8]| {
            let lines: Vec<_> = text(seed).split('\n').collect();
            let config = ProxyConfig::from_windows_settings(lines[0], lines[1]);
            keybound_transport::fuzz::proxy_for(&config, lines[2], 443).expect("a host")
        };
        let proxy = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(route(seed!("system_proxy/by_protocol")), proxy("b", 81));
        assert_eq!(route(seed!("system_proxy/address")), proxy("fd00::1", 8080));
        assert_eq!(route(seed!("system_proxy/exempt")), None);
        let lines: Vec<_> = text(seed!("environment_proxy/credentials"))
            .split('\n')
            .collect();
        let config = ProxyConfig::from_values(Some(lines[0]), Some(lines[1])).unwrap();
        let route = keybound_transport::fuzz::proxy_for(&config, lines[2], 443).expect("a host");
        assert_eq!(route, proxy("proxy", 3128));
    }

    #[test]
    fn handshakes() {
        let events = |seed: &[u8]| keybound_transport::fuzz::handshake_events([seed]);
        assert_eq!(events(seed!("server_handshake/tls12")), ["Tls12"]);
        assert_eq!(
            events(seed!("server_handshake/tls12_certificate_request")),
            ["Tls12", "CertificateRequest"]
        );
        assert_eq!(events(seed!("server_handshake/tls13")), ["Tls13"]);
        assert_eq!(events(seed!("server_handshake/alert")), ["Alert(70)"]);
        assert_eq!(events(seed!("server_handshake/http")), ["NotTls"]);
    }
}
