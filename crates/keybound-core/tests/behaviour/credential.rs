use crate::support::{CLIENT, Issue, KEY, NOW, OTHER, TENANT, at, client, tenant};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use keybound_core::csr::UnsignedCsr;
use keybound_core::{
    AttestationToken, Certificate, CuId, EndpointPolicy, Error, ErrorKind, IssueRequest,
    IssuedCredential, MAX_BODY, MAX_CERTIFICATE, ManagedIdentity, PlatformMetadata, Stage,
};
use keybound_keys::BindingKey as _;
use keybound_keys::memory::MemoryKey;
use serde_json::{Value, json};
use std::error::Error as _;

fn response() -> Value {
    response_with(&Issue::default().der())
}

fn response_with(certificate: &[u8]) -> Value {
    json!({
        "client_id": CLIENT,
        "tenant_id": TENANT,
        "certificate": STANDARD.encode(certificate),
        "identity_type": "SystemAssigned",
        "mtls_authentication_endpoint": "https://westus.mtlsauth.microsoft.com",
    })
}

fn parse(response: &Value) -> keybound_core::Result<IssuedCredential> {
    parse_for(response, &ManagedIdentity::system_assigned())
}

fn parse_for(
    response: &Value,
    requested: &ManagedIdentity,
) -> keybound_core::Result<IssuedCredential> {
    IssuedCredential::parse(
        response.to_string().as_bytes(),
        KEY.public_key_der(),
        requested,
        &EndpointPolicy::default(),
        at(NOW),
    )
}

fn error_kind(response: &Value) -> ErrorKind {
    let error = parse(response).unwrap_err();
    assert_eq!(error.stage(), Stage::Credential);
    error.kind()
}

fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut response = response();
    response[name] = value.into();
    response
}

fn debug_text(error: &Error) -> String {
    let source = error.source().map(ToString::to_string);
    format!("{error} {error:?} {source:?}")
}

#[test]
fn parses_complete_response() {
    let credential = parse(&response()).unwrap();
    assert_eq!(credential.client_id.as_str(), CLIENT);
    assert_eq!(credential.tenant_id.as_str(), TENANT);
    assert_eq!(credential.identity_type, "SystemAssigned");
    assert_eq!(credential.certificate, Issue::default().certificate());
    assert_eq!(
        credential.endpoint.token_url().as_str(),
        format!("https://westus.mtlsauth.microsoft.com/{TENANT}/oauth2/v2.0/token")
    );
    // Unknown members are ignored.
    let later = with("regional_token_url", "https://elsewhere.example");
    assert_eq!(parse(&later).unwrap(), credential);
}

#[test]
fn requires_every_member() {
    for name in [
        "client_id",
        "tenant_id",
        "certificate",
        "identity_type",
        "mtls_authentication_endpoint",
    ] {
        for value in [None, Some(Value::Null), Some(json!(7)), Some(json!(""))] {
            let mut response = response();
            match &value {
                None => drop(response.as_object_mut().unwrap().remove(name)),
                Some(value) => response[name] = value.clone(),
            }
            let expected = match (name, &value) {
                ("certificate", Some(Value::String(_))) => ErrorKind::CertificateMalformed,
                ("mtls_authentication_endpoint", Some(Value::String(_))) => {
                    ErrorKind::EndpointNotAllowed
                }
                _ => ErrorKind::InvalidResponse,
            };
            assert_eq!(error_kind(&response), expected, "{name} {value:?}");
        }
    }
    for body in ["", "<html>", "[]", "null", "{}"] {
        let error = IssuedCredential::parse(
            body.as_bytes(),
            KEY.public_key_der(),
            &ManagedIdentity::system_assigned(),
            &EndpointPolicy::default(),
            at(NOW),
        )
        .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidResponse, "{body}");
    }
}

#[test]
fn rejects_malformed_members() {
    for (name, value) in [
        ("client_id", "not-a-guid"),
        ("client_id", "{1A1a1111-1111-1111-1111-11111111111B}"),
        ("tenant_id", "common"),
        ("tenant_id", "../2A2a2222-2222-2222-2222-222222222"),
        ("identity_type", "System\u{1b}[2J"),
        ("identity_type", "System\u{202e}Assigned"),
        ("identity_type", "System\r\nAssigned"),
        ("identity_type", &"x".repeat(65)),
    ] {
        assert_eq!(
            error_kind(&with(name, value)),
            ErrorKind::InvalidResponse,
            "{name} {value}"
        );
    }
}

#[test]
fn rejects_malformed_certificate() {
    let der = Issue::default().der();
    let pem = Issue::default().certificate().to_pem();
    for certificate in [
        String::new(),
        pem,
        URL_SAFE.encode([0xfb, 0xff]),
        STANDARD.encode(b"garbage"),
        STANDARD.encode(&der[1..]),
        STANDARD.encode([&der[..], b"x"].concat()),
        format!("{}\u{a0}", STANDARD.encode(&der)),
        Certificate::from_der(&der).unwrap().to_pem(),
        format!("\n{}", Certificate::from_der(&der).unwrap().to_pem()),
        STANDARD.encode(&der).trim_end_matches('=').to_owned() + "===",
    ] {
        assert_eq!(
            error_kind(&with("certificate", certificate)),
            ErrorKind::CertificateMalformed
        );
    }
}

#[test]
fn ignores_white_space_in_certificate() {
    let base64 = STANDARD.encode(Issue::default().der());
    let wrapped = |width: usize, end: &str| {
        let lines = base64.as_bytes().chunks(width);
        lines.fold(String::new(), |text, line| {
            text + std::str::from_utf8(line).unwrap() + end
        })
    };
    for certificate in [
        format!("{base64}\n"),
        format!("\r\n\t{base64} "),
        wrapped(64, "\n"),
        wrapped(76, "\r\n"),
        wrapped(1, "\t\r\n "),
    ] {
        let read = parse(&with("certificate", certificate)).unwrap();
        assert_eq!(read.certificate, parse(&response()).unwrap().certificate);
    }
    let mut marked = b"\xef\xbb\xbf".to_vec();
    marked.extend(response().to_string().into_bytes());
    let read = IssuedCredential::parse(
        &marked,
        KEY.public_key_der(),
        &ManagedIdentity::system_assigned(),
        &EndpointPolicy::default(),
        at(NOW),
    );
    assert!(read.is_ok());
}

#[test]
fn certificate_matches_key() {
    let other = MemoryKey::generate().unwrap();
    let certificate = Issue {
        public_key: other.public_key_der().to_vec(),
        ..Issue::default()
    };
    assert_eq!(
        error_kind(&response_with(&certificate.der())),
        ErrorKind::CertificateKeyMismatch
    );
}

#[test]
fn rejects_certificate_that_is_not_valid_now() {
    for (not_before, not_after) in [(NOW + 1, NOW + 9), (NOW - 9, NOW - 1)] {
        let issue = Issue {
            not_before,
            not_after,
            ..Issue::default()
        };
        assert_eq!(
            error_kind(&response_with(&issue.der())),
            ErrorKind::CertificateNotValid
        );
    }
}

#[test]
fn rejects_certificate_without_client_auth() {
    let server_auth = vec![0x30, 10, 0x06, 8, 0x2b, 6, 1, 5, 5, 7, 3, 1];
    let issue = Issue {
        extensions: vec![("2.5.29.37", server_auth)],
        ..Issue::default()
    };
    assert_eq!(
        error_kind(&response_with(&issue.der())),
        ErrorKind::CertificateUnusable
    );
}

#[test]
fn identity_as_asked() {
    assert!(parse_for(&response(), &ManagedIdentity::client_id(CLIENT).unwrap()).is_ok());
    assert!(parse_for(&response(), &ManagedIdentity::object_id(OTHER).unwrap()).is_ok());
    let error = parse_for(&response(), &ManagedIdentity::client_id(OTHER).unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IdentityMismatch);
    // Response and certificate differ.
    for name in ["client_id", "tenant_id"] {
        assert_eq!(error_kind(&with(name, OTHER)), ErrorKind::IdentityMismatch);
    }
    // Case is ignored.
    for name in ["client_id", "tenant_id"] {
        let value = response()[name].as_str().unwrap().to_lowercase();
        assert!(parse(&with(name, value)).is_ok());
    }
}

#[test]
fn identity_as_in_platform_metadata() {
    let metadata = |client: &str, tenant: &str| {
        let body = json!({
            "clientId": client, "tenantId": tenant, "cuId": {"vmId": "v"},
            "attestationEndpoint": "https://maa.attest.azure.net",
        });
        PlatformMetadata::parse(body.to_string().as_bytes(), &EndpointPolicy::default()).unwrap()
    };
    let credential = parse(&response()).unwrap();
    let lower = metadata(&CLIENT.to_lowercase(), &TENANT.to_lowercase());
    credential.check_metadata(&lower).unwrap();
    for other in [metadata(OTHER, TENANT), metadata(CLIENT, OTHER)] {
        let error = credential.check_metadata(&other).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IdentityMismatch);
    }
}

#[test]
fn endpoints_checked() {
    for endpoint in [
        "http://westus.mtlsauth.microsoft.com",
        "https://u:p@westus.mtlsauth.microsoft.com",
        "https://169.254.169.254",
        "https://westus.mtlsauth.microsoft.com:8443",
        "https://localhost",
    ] {
        let response = with("mtls_authentication_endpoint", endpoint);
        assert_eq!(
            error_kind(&response),
            ErrorKind::EndpointNotAllowed,
            "{endpoint}"
        );
    }
    let response = with("token_endpoint", "https://elsewhere.example/token");
    assert_eq!(error_kind(&response), ErrorKind::EndpointNotAllowed);
    let response = with(
        "token_endpoint",
        "https://westus.mtlsauth.microsoft.com/own/token",
    );
    assert_eq!(
        parse(&response).unwrap().endpoint.token_url().path(),
        "/own/token"
    );
}

#[test]
fn bounded_input() {
    let long = with("padding", "x".repeat(MAX_BODY));
    assert_eq!(error_kind(&long), ErrorKind::ResponseTooLarge);
    let sized = |comment_length| {
        let issue = Issue {
            comment_length,
            ..Issue::default()
        };
        issue.der()
    };
    let largest = sized(1000 + MAX_CERTIFICATE - sized(1000).len());
    assert_eq!(largest.len(), MAX_CERTIFICATE);
    parse(&response_with(&largest)).unwrap();
    parse(&with("identity_type", "x".repeat(64))).unwrap();
    let certificate = STANDARD.encode(vec![0x30; MAX_CERTIFICATE + 3]);
    let error = parse(&with("certificate", certificate)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CertificateMalformed);
    assert!(error.to_string().contains("16 KiB"), "{error}");
}

#[test]
fn errors_quote_nothing_of_the_response() {
    for name in ["client_id", "identity_type", "certificate"] {
        for value in [json!("sword fish"), json!(["sword fish"])] {
            let error = parse(&with(name, value)).unwrap_err();
            assert!(
                !debug_text(&error).contains("sword"),
                "{}",
                debug_text(&error)
            );
        }
    }
}

#[test]
fn request_has_attestation_token_if_there_is_one() {
    let cu_id = CuId::new(Some("v".into()), None).unwrap();
    let csr = UnsignedCsr::new(&client(), &tenant(), &cu_id, KEY.public_key_der())
        .unwrap()
        .finish(&[7; 256])
        .unwrap();
    let token = AttestationToken::new("head.claims.signature".into()).unwrap();
    let wire = csr.to_wire();
    let request = |attestation| IssueRequest::new(&csr, attestation);
    assert_eq!(
        *request(None).to_json(),
        format!(r#"{{"csr":"{wire}"}}"#).into_bytes()
    );
    let attested = request(Some(&token)).to_json();
    assert_eq!(
        *attested,
        format!(r#"{{"csr":"{wire}","attestation_token":"head.claims.signature"}}"#).into_bytes()
    );
    assert!(!format!("{:?}", request(Some(&token))).contains("claims"));
}

#[test]
fn secrets_stay_secret_in_freed_memory() {
    let cu_id = CuId::new(Some("v".into()), None).unwrap();
    let csr = UnsignedCsr::new(&client(), &tenant(), &cu_id, KEY.public_key_der())
        .unwrap()
        .finish(&[7; 256])
        .unwrap();
    let token = AttestationToken::new(format!("a.{}.c", "b".repeat(100_000))).unwrap();
    let body = IssueRequest::new(&csr, Some(&token)).to_json();
    // A buffer that grew has left a copy; its capacity is doubled.
    assert!(
        body.capacity() < body.len() + 64,
        "{} for {}",
        body.capacity(),
        body.len()
    );
}
