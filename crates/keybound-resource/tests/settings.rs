//! Which settings a verifier is built with.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use keybound_resource::tower::grpc_response;
use keybound_resource::{
    AccessDecision, BuildError, Caller, CertificateRules, ClientCertificate, ContinuousAccess,
    FetchError, FetchFuture, Guid, Issuer, KeyFetcher, Keys, Reason, TokenVersion, Verifier,
    VerifierBuilder,
};
use keybound_testing::attacks::{OTHER_TENANT, RESOURCE, TENANT, TokenRecipe};
use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::TestClock;

#[test]
fn an_empty_list_or_text_is_no_rule_that_everybody_meets() {
    const NONE: [String; 0] = [];
    type Setting = fn(VerifierBuilder) -> VerifierBuilder;
    let cases: [(Setting, &str); 17] = [
        (
            |builder| builder.clients(NONE),
            "the list of clients is empty",
        ),
        (
            |builder| builder.clients(["a"]).clients(NONE),
            "the list of clients is empty",
        ),
        (
            |builder| builder.clients(["a", ""]),
            "an empty text is among the clients",
        ),
        (
            |builder| builder.clients([" "]),
            "an empty text is among the clients",
        ),
        (
            |builder| builder.require_roles(NONE),
            "the list of roles is empty",
        ),
        (
            |builder| builder.require_roles(["A"]).require_roles(NONE),
            "the list of roles is empty",
        ),
        (
            |builder| builder.require_roles([""]),
            "an empty text is among the roles",
        ),
        (
            |builder| builder.require_scopes(NONE),
            "the list of scopes is empty",
        ),
        (
            |builder| builder.require_scopes([""]),
            "an empty text is among the scopes",
        ),
        (
            |builder| builder.tenants([]),
            "the list of tenants is empty",
        ),
        (
            |builder| builder.audience(""),
            "an empty text is among the audiences",
        ),
        (
            |builder| builder.authorization_uri(""),
            "an empty text is among the authorization_uri",
        ),
        (
            |builder| builder.challenge_resource(""),
            "an empty text is among the challenge_resource",
        ),
        (
            |builder| builder.issuer(issuer("")),
            "an empty text is among the names of issuers",
        ),
        (
            |builder| builder.issuer(issuer("https://a/{tenantid}").key_issuer("")),
            "an empty text is among the names of issuers",
        ),
        (
            |builder| builder.certificate(CertificateRules::new().trusted_issuers(b"")),
            "the trusted issuers of certificates are not certificates in PEM",
        ),
        (
            |builder| builder.certificate(CertificateRules::new().trusted_issuers(b"\n")),
            "the trusted issuers of certificates are not certificates in PEM",
        ),
    ];
    for (set, expected) in cases {
        assert_eq!(refused(set(complete())), expected);
    }
    let error = Verifier::builder()
        .tenant(guid(TENANT))
        .keys(support::fixed_keys())
        .build();
    assert!(matches!(error.unwrap_err(), BuildError::NoAudience));
}

#[test]
fn an_error_of_the_trusted_issuers_has_its_cause() {
    let pem = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (pem, cause) in [(&pem[..], "asn1"), (b"", "there is no certificate")] {
        let rules = CertificateRules::new().trusted_issuers(pem);
        let error = complete().certificate(rules).build().unwrap_err();
        let found = error.source().unwrap().to_string();
        assert!(found.contains(cause), "{found}");
    }
}

#[test]
fn settings_that_contradict_each_other_are_errors_in_any_order() {
    type Setting = fn(VerifierBuilder) -> VerifierBuilder;
    let scopes: Setting = |builder| builder.require_scopes(["Orders.Read"]);
    let users: Setting = |builder| builder.accept_users(true);
    let no_users: Setting = |builder| builder.accept_users(false);
    let app_only: Setting = |builder| builder.require_app_only(true);
    for (one, other, is_usable) in [
        (scopes, no_users, false),
        (scopes, app_only, false),
        (users, app_only, false),
        (scopes, users, true),
        (no_users, app_only, true),
    ] {
        for builder in [one(other(complete())), other(one(complete()))] {
            match builder.build() {
                Ok(_) => assert!(is_usable),
                Err(error) => assert!(matches!(error, BuildError::Users) && !is_usable),
            }
        }
    }
    for builder in [
        complete().any_tenant(),
        Verifier::builder().audience(RESOURCE),
    ] {
        let error = builder.keys(support::fixed_keys()).build().unwrap_err();
        assert!(matches!(error, BuildError::Tenants));
    }
}

#[test]
fn issuers_have_usable_names_and_metadata() {
    for (issuer, expected) in [
        (
            issuer("https://a/{tenantid}/{tenantid}"),
            "the name https://a/{tenantid}/{tenantid} of an issuer has {tenantid} more than once",
        ),
        (
            issuer("https://a/{tenantid}").key_issuer("{tenantid}{tenantid}"),
            "the name {tenantid}{tenantid} of an issuer has {tenantid} more than once",
        ),
        (
            issuer("https://a"),
            "the issuer https://a, whose name has no {tenantid}, needs its tenant, which must be accepted",
        ),
        (
            issuer("https://a").tenant(guid(OTHER_TENANT)),
            "the issuer https://a, whose name has no {tenantid}, needs its tenant, which must be accepted",
        ),
    ] {
        assert_eq!(refused(complete().issuer(issuer)), expected);
    }
    for url in [
        "",
        "http://a/m",
        "http://127.0.0.1/m",
        "HTTPS://a/m",
        "https://user:secret@b/m",
        "https:///m",
    ] {
        let issuer = || Issuer::new(TokenVersion::V2, "https://a/{tenantid}", url);
        let error = complete()
            .keys(Keys::discovered(NoKeys))
            .issuer(issuer())
            .build();
        let error = error.unwrap_err();
        assert!(
            matches!(error, BuildError::IssuerMetadata { .. }),
            "{error}"
        );
        assert!(
            !format!("{error} {error:?}").contains("secret"),
            "{error:?}"
        );
        // It is not used.
        complete().issuer(issuer()).build().unwrap();
    }
}

#[test]
fn values_out_of_range_are_errors() {
    assert_eq!(
        refused(complete().skew(Duration::from_millis(3_600_001))),
        "the clock skew is longer than an hour"
    );
    let bytes = usize::MAX;
    assert_eq!(
        refused(complete().cache_bytes(bytes)),
        "the memory for cached tokens is more than 64 GiB"
    );
    let error = refused(complete().challenge_resource("a\"b"));
    assert_eq!(
        error,
        "the text \"a\\\"b\" of the challenge is not printable ASCII without quotes and backslashes"
    );
}

/// The owner keeps them to revoke access, to move the time, and to see what is fetched.
#[test]
fn hook_clock_and_fetcher_can_be_shared() {
    let (revoked, clock) = (Arc::new(Revoked::default()), Arc::new(TestClock::new()));
    let builder = complete().clock(Arc::clone(&clock));
    let verifier = builder.continuous_access(Arc::clone(&revoked)).build();
    let verifier = verifier.unwrap();
    let token = TokenRecipe::default().make(support::issuer());
    let der = support::issuer().certificates.der("client").unwrap();
    let certificate = ClientCertificate::from_der(&der).unwrap();
    let verify = || {
        let header = format!("mtls_pop {token}");
        let verified = verifier.verify(&*header, &certificate);
        verified.map(drop).map_err(|refusal| refusal.reason())
    };
    assert_eq!(verify(), Ok(()));
    revoked.0.store(true, Ordering::Relaxed);
    assert_eq!(verify(), Err(Reason::AccessRevoked));
    clock.advance(24 * 3600 - 1);
    assert_eq!(verify(), Err(Reason::TokenExpired));
    let keys = Keys::discovered(Arc::new(NoKeys));
    complete().keys(keys).build().unwrap();
}

#[test]
fn refusal_by_a_rule_of_the_resource_has_the_challenge_of_the_verifier() {
    let verifier = complete().challenge_resource("api://orders").build();
    let refusal = verifier.unwrap().refusal(Reason::RoleMissing);
    assert_eq!(refusal.status(), 403);
    assert_eq!(
        refusal.challenge().as_deref(),
        Some(
            "mtls_pop realm=\"\", resource=\"api://orders\", error=\"insufficient_scope\", error_description=\"the token lacks a required role\""
        )
    );
}

/// As that of the layer.
#[test]
fn refusal_by_a_method_of_grpc_has_a_challenge() {
    let verifier = complete().build().unwrap();
    for reason in Reason::ALL {
        let by_layer = grpc_response::<()>(&verifier.refusal(*reason));
        let by_layer = tonic::Status::from_header_map(by_layer.headers()).unwrap();
        let status = tonic::Status::from(verifier.refusal(*reason));
        assert_eq!(status.code(), by_layer.code(), "{reason:?}");
        assert_eq!(status.message(), by_layer.message());
        let challenge = |status: &tonic::Status| status.metadata().get("www-authenticate").cloned();
        assert_eq!(challenge(&status), challenge(&by_layer), "{reason:?}");
        let has_challenge = *reason != Reason::KeysUnavailable;
        assert_eq!(challenge(&status).is_some(), has_challenge, "{reason:?}");
    }
}

#[derive(Default)]
struct Revoked(AtomicBool);

impl ContinuousAccess for Revoked {
    fn decide(&self, _: &Caller) -> AccessDecision {
        match self.0.load(Ordering::Relaxed) {
            true => AccessDecision::Revoke,
            false => AccessDecision::Allow,
        }
    }
}

fn complete() -> VerifierBuilder {
    let builder = Verifier::builder().audience(RESOURCE).tenant(guid(TENANT));
    builder.keys(support::fixed_keys())
}

fn refused(builder: VerifierBuilder) -> String {
    builder.build().unwrap_err().to_string()
}

fn issuer(name: &str) -> Issuer {
    Issuer::new(TokenVersion::V2, name, "https://a/metadata")
}

fn guid(text: &str) -> Guid {
    Guid::parse(text).unwrap()
}

struct NoKeys;

impl KeyFetcher for NoKeys {
    fn fetch<'a>(&'a self, _: &'a str) -> FetchFuture<'a> {
        Box::pin(async { Err(FetchError::new("none")) })
    }
}
