use crate::check::{
    self, CANARY, CLIENT, PUBLIC_KEY, TENANT, assert_no_canary, assert_printable, identities, now,
};
use crate::texts::assert_endpoint;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keybound_core::{
    EndpointPolicy, IssuedCredential, MAX_JWT, PlatformMetadata, ServiceError, TokenResponse,
    TokenType,
};
use serde_json::json;
use std::time::Duration;

/// The answer of `getplatformmetadata`.
pub fn metadata(data: &[u8]) {
    for loopback in [false, true] {
        let policy = EndpointPolicy::new(loopback);
        let metadata = match PlatformMetadata::parse(data, &policy) {
            Ok(metadata) => metadata,
            Err(error) => {
                check::error(&error);
                continue;
            }
        };
        assert_endpoint(&metadata.attestation_endpoint, loopback);
        assert_eq!(metadata.attestation_endpoint.path(), "/");
        assert_printable(&metadata.cu_id.to_json());
        let printed = json!({
            "clientId": metadata.client_id.as_str(),
            "tenantId": metadata.tenant_id.as_str(),
            "cuId": {"vmId": metadata.cu_id.vm_id(), "vmssId": metadata.cu_id.vmss_id()},
            "attestationEndpoint": metadata.attestation_endpoint.as_str(),
        });
        let again = PlatformMetadata::parse(printed.to_string().as_bytes(), &policy);
        assert_eq!(again.expect("what is printed is read"), metadata);
        let cu_id: serde_json::Value =
            serde_json::from_str(&metadata.cu_id.to_json()).expect("cuId is JSON");
        assert_eq!(
            cu_id.get("vmId").and_then(|id| id.as_str()),
            metadata.cu_id.vm_id()
        );
        for identity in identities() {
            if let Err(error) = metadata.check_identity(&identity) {
                check::error(&error);
            }
        }
    }
}

/// The answer of `issuecredential`, for a fixed key; bytes that do not begin like JSON are taken for the certificate
/// in an answer that is right otherwise.
pub fn credential(data: &[u8]) {
    let wrapped;
    let body = if data.first() == Some(&b'{') {
        data
    } else {
        wrapped = answer_with(data);
        &wrapped
    };
    for loopback in [false, true] {
        let policy = EndpointPolicy::new(loopback);
        for asked in identities() {
            match IssuedCredential::parse(body, PUBLIC_KEY, &asked, &policy, now()) {
                Ok(credential) => assert_credential(&credential, loopback),
                Err(error) => check::error(&error),
            }
        }
    }
}

fn answer_with(certificate: &[u8]) -> Vec<u8> {
    let answer = json!({
        "client_id": CLIENT,
        "tenant_id": TENANT,
        "certificate": STANDARD.encode(certificate),
        "identity_type": "SystemAssigned",
        "mtls_authentication_endpoint": "https://westus.mtlsauth.microsoft.com",
    });
    answer.to_string().into_bytes()
}

fn assert_credential(credential: &IssuedCredential, loopback: bool) {
    let certificate = &credential.certificate;
    assert_eq!(certificate.public_key_der(), PUBLIC_KEY);
    assert!(certificate.not_before() <= now() && now() <= certificate.not_after());
    let names = (&credential.client_id, &credential.tenant_id);
    certificate
        .check_names(names.0, names.1)
        .expect("checked names");
    assert!(!credential.identity_type.is_empty() && credential.identity_type.len() <= 64);
    assert_printable(&credential.identity_type);
    assert_endpoint(credential.endpoint.token_url(), loopback);
    assert_endpoint(credential.endpoint.origin(), loopback);
    assert_eq!(
        credential.endpoint.token_url().origin(),
        credential.endpoint.origin().origin()
    );
}

/// The answer of the token endpoint.
pub fn token_answer(data: &[u8]) {
    let read = [TokenType::MtlsPop, TokenType::Bearer].map(|asked| {
        let answer = TokenResponse::parse(data, asked);
        match &answer {
            Ok(answer) => assert_token(answer, asked),
            Err(error) => check::error(error),
        }
        answer.is_ok()
    });
    assert_ne!(read, [true, true], "one answer of two types");
}

fn assert_token(answer: &TokenResponse, asked: TokenType) {
    assert_eq!(answer.token_type, asked);
    assert!(answer.expires_in > Duration::ZERO);
    assert!(
        answer
            .refresh_in
            .is_none_or(|refresh| refresh > Duration::ZERO && refresh <= answer.expires_in)
    );
    let token = answer.access_token.expose();
    assert!((1..=MAX_JWT).contains(&token.len()));
    assert!(token.bytes().all(|byte| byte.is_ascii_graphic()));
    assert_no_canary(&format!("{answer:?}"));
    assert!(
        std::time::SystemTime::UNIX_EPOCH
            .checked_add(answer.expires_in)
            .is_some()
    );
}

/// The body of a refusal.
pub fn service_error(data: &[u8]) {
    let object = ServiceError::parse(data);
    let words = ServiceError::from_response(data);
    assert!(object.is_none() || object == words);
    let Some(error) = words else {
        return;
    };
    if object.is_none() {
        let description = error.description.as_deref().expect("a line");
        assert!((1..=257).contains(&description.chars().count()));
    }
    assert!(error.error.is_some() || error.description.is_some());
    assert!(error.codes.len() <= 16);
    let texts = [
        &error.error,
        &error.description,
        &error.trace_id,
        &error.correlation_id,
        &error.timestamp,
    ];
    for text in texts.into_iter().flatten() {
        assert_printable(text);
        assert!(text.chars().count() <= 1025);
        assert!(!text.contains(&format!("eyJ{CANARY}")), "{text:?}");
    }
    let shown = keybound_core::Error::new(
        keybound_core::ErrorKind::Refused,
        keybound_core::Stage::Token,
        "refused",
    )
    .with_service(Some(error));
    assert!(shown.to_string().chars().count() <= 2100);
    assert_printable(&shown.to_string());
}
