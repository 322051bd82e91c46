use crate::support::{CLIENT, Issue, OTHER, TENANT, client, jwt, tenant};
use keybound_core::{
    ErrorKind, SecretString, Stage, UnverifiedJwt, check_binding, check_token_identity,
};
use std::sync::LazyLock;

static CERTIFICATE: LazyLock<keybound_core::Certificate> =
    LazyLock::new(|| Issue::default().certificate());

fn thumbprint() -> &'static str {
    CERTIFICATE.thumbprints().x5t_s256.as_str()
}

fn error_kind(token: String) -> ErrorKind {
    let error = check_binding(&SecretString::new(token.clone()), &CERTIFICATE).unwrap_err();
    assert_eq!(error.stage(), Stage::Token);
    assert!(!error.is_retryable());
    let shown = format!("{error} {error:?}");
    assert!(token.len() < 8 || !shown.contains(&token[..8]), "{shown}");
    error.kind()
}

#[test]
fn bound_or_error() {
    let bound = jwt(&format!(
        r#"{{"cnf":{{"x5t#S256":"{}"}},"tid":"{TENANT}"}}"#,
        thumbprint()
    ));
    let read = check_binding(&SecretString::new(bound), &CERTIFICATE).unwrap();
    assert_eq!(read.text("tid"), Some(TENANT));
}

#[test]
fn rejects_token_without_binding() {
    let thumbprint = thumbprint();
    for claims in [
        "{}".to_owned(),
        r#"{"cnf":null}"#.to_owned(),
        r#"{"cnf":{}}"#.to_owned(),
        r#"{"cnf":{"x5t#S256":null}}"#.to_owned(),
        format!(r#"{{"cnf":"{thumbprint}"}}"#),
        format!(r#"{{"cnf":["{thumbprint}"]}}"#),
        format!(r#"{{"cnf":{{"x5t#S256":["{thumbprint}"]}}}}"#),
        format!(r#"{{"cnf":{{"x5t":"{thumbprint}"}}}}"#),
        format!(r#"{{"cnf":{{"X5T#S256":"{thumbprint}"}}}}"#),
        format!(r#"{{"x5t#S256":"{thumbprint}"}}"#),
    ] {
        assert_eq!(
            error_kind(jwt(&claims)),
            ErrorKind::TokenNotBound,
            "{claims}"
        );
    }
}

#[test]
fn rejects_token_of_another_certificate() {
    let other = Issue {
        not_after: Issue::default().not_after + 1,
        ..Issue::default()
    };
    let other = other.certificate();
    let own = thumbprint();
    for confirmation in [
        other.thumbprints().x5t_s256.to_string(),
        String::new(),
        own[..42].to_owned(),
        format!("{own}="),
        format!("{own} "),
        own.to_lowercase(),
        CERTIFICATE.thumbprints().sha256.clone(),
        CERTIFICATE.thumbprints().sha1.clone(),
    ] {
        let token = jwt(&format!(r#"{{"cnf":{{"x5t#S256":"{confirmation}"}}}}"#));
        assert_eq!(
            error_kind(token),
            ErrorKind::BindingMismatch,
            "{confirmation}"
        );
    }
}

#[test]
fn rejects_token_with_two_bindings() {
    let own = thumbprint();
    for claims in [
        format!(r#"{{"cnf":{{"x5t#S256":"x"}},"cnf":{{"x5t#S256":"{own}"}}}}"#),
        format!(r#"{{"cnf":{{"x5t#S256":"x","x5t#S256":"{own}"}}}}"#),
    ] {
        assert_eq!(
            error_kind(jwt(&claims)),
            ErrorKind::InvalidResponse,
            "{claims}"
        );
    }
}

#[test]
fn rejects_unreadable_token() {
    let valid = jwt(&format!(r#"{{"cnf":{{"x5t#S256":"{}"}}}}"#, thumbprint()));
    let without_signature = valid[..=valid.rfind('.').unwrap()].to_owned();
    for token in [
        String::new(),
        "opaque".to_owned(),
        format!("{valid} "),
        format!("{valid}.{valid}"),
        without_signature,
        valid.replace('.', ".."),
    ] {
        assert_eq!(error_kind(token), ErrorKind::InvalidResponse);
    }
}

#[test]
fn identity_as_asked() {
    let check = |claims: &str| {
        let jwt = UnverifiedJwt::parse(&jwt(claims)).unwrap();
        check_token_identity(&jwt, &client(), &tenant())
    };
    let lower = (CLIENT.to_lowercase(), TENANT.to_lowercase());
    for claims in [
        "{}".to_owned(),
        format!(r#"{{"appid":"{CLIENT}","tid":"{TENANT}"}}"#),
        format!(
            r#"{{"azp":"{}","tid":"{}","oid":"{OTHER}"}}"#,
            lower.0, lower.1
        ),
    ] {
        check(&claims).unwrap();
    }
    for claims in [
        format!(r#"{{"appid":"{OTHER}","tid":"{TENANT}"}}"#),
        format!(r#"{{"appid":"{CLIENT}","azp":"{OTHER}"}}"#),
        format!(r#"{{"appid":"{CLIENT}","tid":"{OTHER}"}}"#),
        format!(r#"{{"appid":"{TENANT}","tid":"{CLIENT}"}}"#),
        r#"{"appid":""}"#.to_owned(),
        r#"{"azp":null}"#.to_owned(),
        format!(r#"{{"tid":["{TENANT}"]}}"#),
    ] {
        let error = check(&claims).unwrap_err();
        assert_eq!(
            (error.kind(), error.stage()),
            (ErrorKind::IdentityMismatch, Stage::Token),
            "{claims}"
        );
    }
}
