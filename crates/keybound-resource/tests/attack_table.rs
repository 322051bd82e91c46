//! The attack table through the ways in of this crate.
mod support;

use keybound_core::Challenge;
use keybound_resource::{Authorization, ClientCertificate, Reason, Refusal, Verifier};
use keybound_testing::attacks::{AttackRequest, Verdict, cases, run};
use std::collections::BTreeSet;
use support::{TestClock, builder, issuer};

#[test]
fn attack_table_through_the_library() {
    run("library", issuer(), |request, policy| {
        let clock = TestClock::new();
        let verifier = builder(policy, &clock).build().unwrap();
        clock.set_later(request.seconds_later);
        verify(&verifier, request)
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
        first
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
        first
    });
}

#[test]
fn every_reason_occurs_in_the_attack_table() {
    let occurring: BTreeSet<String> = cases()
        .into_iter()
        .filter_map(|case| case.expect.reason)
        .collect();
    for reason in Reason::ALL {
        // A proxy's header, which no TLS connection has.
        let elsewhere = reason == Reason::CertificateRepeated;
        assert_eq!(occurring.contains(reason.code()), !elsewhere, "{reason:?}");
    }
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
