//! The attack table through the ways in of this crate.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "attack_table/connections.rs"]
mod connections;
mod support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Request, Response};
use keybound_core::Challenge;
use keybound_resource::source::{
    CertificateSource, ConnectionPeer, ForwardedCertificate, Peer, PeerAddress, TrustedPeers,
};
use keybound_resource::tower::MtlsPopLayer;
use keybound_resource::{
    Authorization, BuildError, Caller, CertificateRules, ClientCertificate, Reason, Refusal,
    Verifier,
};
use keybound_testing::attacks::{
    AttackRequest, PolicyOfCase, TokenRecipe, Verdict, cases, fixed_now, run,
};
use keybound_testing::{Authority, CertificateBuilder, p256_key};
use serde_json::json;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};
use support::{TestClock, builder, issuer};
use tower_layer::Layer as _;
use tower_service::Service;

#[test]
fn attack_table_through_the_library() {
    run("library", issuer(), |request, policy| {
        let clock = TestClock::new();
        let verifier = builder(policy, &clock).build().unwrap();
        clock.set_later(request.seconds_later);
        Some(verify(&verifier, request))
    });
}

/// The owner of the token uses it first, so that it is cached.
#[test]
fn attack_table_through_the_library_with_a_cached_token() {
    let mut cached = 0;
    let issuer = issuer();
    let mut valid = Vec::new();
    for case in cases() {
        let mut request = case.request(issuer);
        request.certificate = issuer.certificates.der(&case.token.bound_to);
        request.seconds_later = 0;
        valid.push(request);
    }
    let mut valid = valid.into_iter();
    run("library, cached", issuer, |request, policy| {
        let clock = TestClock::new();
        let verifier = builder(policy, &clock).build().unwrap();
        verify(&verifier, &valid.next().unwrap());
        cached += usize::from(verifier.cached_bytes() > 0);
        clock.set_later(request.seconds_later);
        let first = verify(&verifier, request);
        assert_eq!(first, verify(&verifier, request));
        Some(first)
    });
    // Those whose token is valid, and refused for other reasons.
    assert!(cached >= 40, "{cached}");
}

/// Without the cache.
#[test]
fn attack_table_through_the_library_without_cache() {
    run("library, uncached", issuer(), |request, policy| {
        let clock = TestClock::new();
        let verifier = builder(policy, &clock).cache_bytes(0).build().unwrap();
        clock.set_later(request.seconds_later);
        let first = verify(&verifier, request);
        assert_eq!(first, verify(&verifier, request));
        assert_eq!(verifier.cached_bytes(), 0);
        Some(first)
    });
}

#[test]
fn attack_table_through_the_tower_layer() {
    run("tower", issuer(), |request, policy| {
        through_layer(
            request,
            policy,
            ConnectionPeer::new(),
            from_connection,
            false,
        )
    });
}

#[test]
fn attack_table_through_the_tower_layer_for_grpc() {
    run("tower, gRPC", issuer(), |request, policy| {
        through_layer(
            request,
            policy,
            ConnectionPeer::new(),
            from_connection,
            true,
        )
    });
}

#[test]
fn attack_table_behind_nginx_header() {
    run("nginx header", issuer(), |request, policy| {
        let source = ForwardedCertificate::nginx(TrustedPeers::local());
        through_layer(
            request,
            policy,
            source,
            |request, certificate| {
                let pem = certificate.map(|der| issuer().certificates.url_encoded_pem(der));
                forward(request, "x-ssl-client-cert", pem.unwrap_or_default());
            },
            false,
        )
    });
}

#[test]
fn attack_table_behind_envoy_header() {
    run("XFCC", issuer(), |request, policy| {
        let source = ForwardedCertificate::xfcc(TrustedPeers::local());
        through_layer(
            request,
            policy,
            source,
            |request, certificate| {
                let element = certificate.map(|der| issuer().certificates.xfcc_element(der));
                forward(
                    request,
                    "x-forwarded-client-cert",
                    element.unwrap_or_default(),
                );
            },
            false,
        )
    });
}

#[test]
fn attack_table_behind_rfc_9440_header() {
    run("Client-Cert", issuer(), |request, policy| {
        let source = ForwardedCertificate::rfc9440(TrustedPeers::local());
        through_layer(
            request,
            policy,
            source,
            |request, certificate| {
                let sequence = certificate.map(|der| format!(":{}:", STANDARD.encode(der)));
                forward(request, "client-cert", sequence.unwrap_or_default());
            },
            false,
        )
    });
}

/// What API owners write by hand: the token is read and not verified, a missing certificate is ignored, and thumbprints are compared
/// without case. The table finds it.
#[test]
fn attack_table_finds_a_careless_verifier() {
    let careless = |request: &AttackRequest| -> Option<()> {
        let [header] = &request.authorization[..] else {
            return None;
        };
        let (scheme, token) = std::str::from_utf8(header).ok()?.split_once(' ')?;
        let jwt = scheme.eq_ignore_ascii_case("mtls_pop").then_some(token)?;
        let jwt = keybound_core::UnverifiedJwt::parse(jwt)?;
        let Some(der) = &request.certificate else {
            return Some(());
        };
        let thumbprint = keybound_core::X5tS256::of_der(der);
        let claim = jwt.confirmation()?;
        claim
            .eq_ignore_ascii_case(thumbprint.as_str())
            .then_some(())
    };
    let cases = cases();
    let wrong = cases
        .iter()
        .filter(|case| case.expect.status != 200 && careless(&case.request(issuer())).is_some());
    assert!(wrong.count() > 100);
}

#[test]
fn every_reason_occurs_in_the_attack_table() {
    let occurring: BTreeSet<String> = cases()
        .into_iter()
        .filter_map(|case| case.expect.reason)
        .collect();
    for reason in Reason::ALL {
        // A proxy's header, which no TLS connection has, and a policy with CA certificates.
        let elsewhere = matches!(
            reason,
            Reason::CertificateRepeated | Reason::CertificateUntrusted
        );
        assert_eq!(occurring.contains(reason.code()), !elsewhere, "{reason:?}");
    }
}

/// The token is valid, and bound to the certificate of the connection.
#[test]
fn certificate_of_an_issuer_that_is_not_trusted_is_refused() {
    let root = authority("root", -9..9, None);
    let issuing = authority("issuing", -9..9, Some(&root));
    let other = authority("other", -9..9, Some(&root));
    let namesake = authority("issuing", -9..9, Some(&authority("root", -9..9, None)));
    let expired = authority("expired", -9..-1, None);
    let future = authority("future", 1..9, None);
    let leaf = issuing.issue(|builder| builder.subject("leaf").validity(days(-9..9)));
    let no_authority = Authority::from_parts(leaf.certificate, leaf.key);
    let pem = |authorities: &[&Authority]| {
        let all: Vec<_> = authorities.iter().map(|one| one.pem()).collect();
        all.concat()
    };
    for (name, issuer, trusted, is_accepted) in [
        ("its issuer", &issuing, pem(&[&issuing]), true),
        (
            "its issuer among others",
            &issuing,
            pem(&[&other, &issuing]),
            true,
        ),
        ("the whole chain", &issuing, pem(&[&root, &issuing]), true),
        ("another issuer", &issuing, pem(&[&other]), false),
        (
            "the root, without the chain",
            &issuing,
            pem(&[&root]),
            false,
        ),
        (
            "an issuer of the same name",
            &issuing,
            pem(&[&namesake]),
            false,
        ),
        ("an expired issuer", &expired, pem(&[&expired]), false),
        ("an issuer of tomorrow", &future, pem(&[&future]), false),
        ("no authority", &no_authority, pem(&[&no_authority]), false),
    ] {
        let leaf = issuer.issue(|builder| builder.subject("client").validity(days(-1..1)));
        let der = leaf.certificate.to_der().unwrap();
        let certificate = ClientCertificate::from_der(&der).unwrap();
        let thumbprint = certificate.thumbprint().as_str();
        let claims = json!({ "cnf": { "x5t#S256": thumbprint } });
        let recipe: TokenRecipe = serde_json::from_value(json!({ "claims": claims })).unwrap();
        let header = format!("mtls_pop {}", recipe.make(support::issuer()));
        let rules = CertificateRules::new().trusted_issuers(&trusted);
        let builder = builder(&PolicyOfCase::default(), &TestClock::new());
        let verifier = builder.certificate(rules).build().unwrap();
        for _ in 0..2 {
            let verified = verifier.verify(header.as_str(), &certificate);
            let reason = verified.err().map(|refusal| refusal.reason());
            let expected = (!is_accepted).then_some(Reason::CertificateUntrusted);
            assert_eq!(reason, expected, "{name}");
        }
    }
    for pem in [&b""[..], b"-----BEGIN CERTIFICATE-----\n", b"ca.pem"] {
        let rules = CertificateRules::new().trusted_issuers(pem);
        let builder = builder(&PolicyOfCase::default(), &TestClock::new());
        let error = builder.certificate(rules).build().unwrap_err();
        assert!(matches!(error, BuildError::TrustedIssuers { .. }));
    }
}

/// A CA that is valid between these days from the time of the tokens, self-signed without an issuer.
fn authority(name: &str, valid: Range<i64>, issuer: Option<&Authority>) -> Authority {
    let fields = |builder: CertificateBuilder| builder.subject(name).validity(days(valid)).ca();
    let Some(issuer) = issuer else {
        let key = p256_key();
        let builder = CertificateBuilder::new(&key).issuer(name);
        return Authority::from_parts(fields(builder).sign(&key), key);
    };
    let leaf = issuer.issue(fields);
    Authority::from_parts(leaf.certificate, leaf.key)
}

fn days(valid: Range<i64>) -> Range<SystemTime> {
    let at = |day: i64| {
        let distance = Duration::from_secs(day.unsigned_abs() * 86_400);
        if day < 0 {
            fixed_now() - distance
        } else {
            fixed_now() + distance
        }
    };
    at(valid.start)..at(valid.end)
}

#[test]
fn table_has_at_least_a_hundred_cases() {
    assert!(cases().len() >= 100);
}

fn verify(verifier: &Verifier, request: &AttackRequest) -> Verdict {
    let authorization = Authorization::from_values(&request.authorization);
    let certificate = match &request.certificate {
        None => Ok(None),
        Some(der) => ClientCertificate::from_der(der).map(Some),
    };
    match verifier.verify(authorization, &certificate) {
        Ok(_) => Verdict::accepted(),
        Err(refusal) => verdict(&refusal),
    }
}

fn verdict(refusal: &Refusal) -> Verdict {
    let challenge = refusal.challenge();
    if let Some(challenge) = &challenge {
        // The client's own parser reads what the verifier writes.
        let read = Challenge::parse_all(challenge.as_str());
        let errors = read.iter().map(|challenge| challenge.parameter("error"));
        assert!(
            errors.eq(read.iter().map(|_| refusal.reason().error())),
            "{challenge}"
        );
        assert!(!read.is_empty(), "{challenge}");
        let wants_claims = refusal.reason() == Reason::InsufficientClaims;
        assert_eq!(read[0].claims().is_some(), wants_claims, "{challenge}");
    }
    let reason = refusal.reason().code().to_owned();
    Verdict::refused(refusal.status(), Some(reason), challenge)
}

/// The certificate of the connection, as a TLS server passes it on.
fn from_connection(request: &mut Request<()>, certificate: Option<&[u8]>) {
    let peer = Peer::new(PeerAddress::Tcp(address())).with_certificate(certificate);
    request.extensions_mut().insert(peer);
}

/// What a proxy does: it replaces the header of the client by its own.
fn forward(request: &mut Request<()>, name: &'static str, value: String) {
    request.headers_mut().remove(name);
    if !value.is_empty() {
        let value = HeaderValue::from_str(&value).unwrap();
        request.headers_mut().insert(name, value);
    }
    let peer = Peer::new(PeerAddress::Tcp(address()));
    request.extensions_mut().insert(peer);
}

fn address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 50_000).into()
}

/// `None` if the headers are not valid in HTTP.
fn through_layer(
    request: &AttackRequest,
    policy: &PolicyOfCase,
    source: impl CertificateSource,
    add_certificate: impl Fn(&mut Request<()>, Option<&[u8]>),
    grpc: bool,
) -> Option<Verdict> {
    let clock = TestClock::new();
    let verifier = builder(policy, &clock).build().unwrap();
    clock.set_later(request.seconds_later);
    let mut http = Request::get(&request.path).body(()).unwrap();
    for value in &request.authorization {
        let value = HeaderValue::from_bytes(value).ok()?;
        http.headers_mut().append(AUTHORIZATION, value);
    }
    for (name, value) in &request.headers {
        let name = HeaderName::try_from(name).unwrap();
        http.headers_mut().append(name, value.parse().unwrap());
    }
    add_certificate(&mut http, request.certificate.as_deref());
    let mut layer = MtlsPopLayer::new(verifier, source);
    if grpc {
        layer = layer.grpc();
    }
    let response = runtime().block_on(layer.layer(Api).call(http)).unwrap();
    Some(verdict_of_response(&response, grpc))
}

fn verdict_of_response(response: &Response<String>, grpc: bool) -> Verdict {
    let header = |name| {
        response
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap())
    };
    let Some(reason) = response.extensions().get::<Reason>() else {
        assert_eq!(response.body(), "c0ffee00-1234-4321-8888-0123456789ab");
        return Verdict::accepted();
    };
    assert_eq!(response.body(), "", "the service was not called");
    if grpc {
        let status = header(HeaderName::from_static("grpc-status"));
        assert_eq!(status, Some(grpc_status(*reason)));
        assert_eq!(response.status(), 200);
    } else {
        assert_eq!(response.status().as_u16(), reason.status());
    }
    let challenge = header(WWW_AUTHENTICATE).map(str::to_owned);
    Verdict::refused(reason.status(), Some(reason.code().to_owned()), challenge)
}

fn grpc_status(reason: Reason) -> &'static str {
    match reason.status() {
        403 => "7",
        503 => "14",
        _ => "16",
    }
}

/// Returns the client of the caller.
#[derive(Clone)]
struct Api;

impl Service<Request<()>> for Api {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let caller = request.extensions().get::<Arc<Caller>>().unwrap();
        assert!(request.headers()[AUTHORIZATION].is_sensitive());
        std::future::ready(Ok(Response::new(caller.client().to_owned())))
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}
