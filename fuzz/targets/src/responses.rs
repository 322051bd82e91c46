use crate::check::{
    self, CANARY, CLIENT, PUBLIC_KEY, TENANT, assert_no_canary, assert_printable, identities, now,
};
use crate::texts::assert_endpoint;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keybound_core::{
    ComputeDocument, EndpointPolicy, IssuedCredential, MAX_JWT, OperatingSystem, PlatformMetadata,
    SecretString, SecurityType, ServiceError, TokenResponse, TokenType,
};
use serde_json::json;
use std::time::Duration;

/// The response of `getplatformmetadata`.
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
        assert_eq!(again.expect("the printed value parses"), metadata);
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

/// The response of `/metadata/instance/compute`.
pub fn compute_document(data: &[u8]) {
    let document = match ComputeDocument::parse(data) {
        Ok(document) => document,
        Err(error) => return check::error(&error),
    };
    let security = &document.security;
    if let Some(name) = security.security_type.as_ref().map(SecurityType::as_str) {
        assert_printable(name);
        assert!((1..=64).contains(&name.chars().count()), "{name:?}");
    }
    match document.check_keyguard() {
        Ok(()) => {
            assert_eq!(document.operating_system, OperatingSystem::Windows);
            assert!(security.secure_boot != Some(false) && security.virtual_tpm != Some(false));
            let isolated = [SecurityType::TrustedLaunch, SecurityType::ConfidentialVm];
            let found = security.security_type.as_ref();
            assert!(found.is_some_and(|found| isolated.contains(found)));
        }
        Err(error) => assert_printable(&error.to_string()),
    }
    let switch = |value: Option<bool>| value.map(|is_on| is_on.to_string());
    let printed = json!({
        "osType": document.operating_system.as_str(),
        "securityProfile": {
            "securityType": security.security_type.as_ref().map(SecurityType::as_str),
            "secureBootEnabled": switch(security.secure_boot),
            "virtualTpmEnabled": switch(security.virtual_tpm),
        },
    });
    let again = ComputeDocument::parse(printed.to_string().as_bytes());
    assert_eq!(again.expect("the printed value parses"), document);
}

/// The response of `issuecredential`, for a fixed key. Input that does not start like JSON is the certificate in an otherwise
/// valid response.
pub fn credential(data: &[u8]) {
    let wrapped;
    let body = if data.first() == Some(&b'{') {
        data
    } else {
        wrapped = response_with(data);
        &wrapped
    };
    for loopback in [false, true] {
        let policy = EndpointPolicy::new(loopback);
        for identity in identities() {
            match IssuedCredential::parse(body, PUBLIC_KEY, &identity, &policy, now()) {
                Ok(credential) => assert_credential(&credential, loopback),
                Err(error) => check::error(&error),
            }
        }
    }
}

fn response_with(certificate: &[u8]) -> Vec<u8> {
    let response = json!({
        "client_id": CLIENT,
        "tenant_id": TENANT,
        "certificate": STANDARD.encode(certificate),
        "identity_type": "SystemAssigned",
        "mtls_authentication_endpoint": "https://westus.mtlsauth.microsoft.com",
    });
    response.to_string().into_bytes()
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

/// The response of the token endpoint.
pub fn token_response(data: &[u8]) {
    let accepted = [TokenType::MtlsPop, TokenType::Bearer].map(|token_type| {
        let response = TokenResponse::parse(data, token_type);
        match &response {
            Ok(response) => assert_token(response, token_type),
            Err(error) => check::error(error),
        }
        response.is_ok()
    });
    assert_ne!(accepted, [true, true], "one response of two types");
}

fn assert_token(response: &TokenResponse, token_type: TokenType) {
    assert_eq!(response.token_type, token_type);
    assert!(response.expires_in > Duration::ZERO);
    assert!(
        response
            .refresh_in
            .is_none_or(|refresh| refresh > Duration::ZERO && refresh <= response.expires_in)
    );
    let token = response.access_token.expose();
    assert!((1..=MAX_JWT).contains(&token.len()));
    assert!(token.bytes().all(|byte| byte.is_ascii_graphic()));
    assert_no_canary(&format!("{response:?}"));
    assert!(
        std::time::SystemTime::UNIX_EPOCH
            .checked_add(response.expires_in)
            .is_some()
    );
}

/// The body of an error response.
pub fn service_error(data: &[u8]) {
    assert_secret_removed(data);
    let object = ServiceError::parse(data);
    let error = ServiceError::from_response(data);
    assert!(object.is_none() || object == error);
    let Some(error) = error else {
        return;
    };
    if object.is_none() {
        let description = error.description.as_deref().expect("a line");
        assert!((1..=257).contains(&description.chars().count()));
    }
    assert!(error.error.is_some() || error.description.is_some());
    assert!(error.codes.len() <= 16);
    for text in texts(&error) {
        assert_printable(text);
        assert!(text.chars().count() <= 1025);
        assert!(!text.contains(&format!("eyJ{CANARY}")), "{text:?}");
    }
    let shown = keybound_core::Error::new(
        keybound_core::ErrorKind::Refused,
        keybound_core::Stage::Token,
        "rejected",
    )
    .with_service(Some(error));
    assert!(shown.to_string().chars().count() <= 2100);
    assert_printable(&shown.to_string());
}

/// The body may repeat parts of the request's secret, here the first word of the body.
fn assert_secret_removed(body: &[u8]) {
    let secret = String::from_utf8_lossy(body);
    let mut words = secret.split(|c: char| !c.is_ascii_alphanumeric());
    let Some(secret) = words.find(|word| word.len() >= 8) else {
        return;
    };
    let known = SecretString::new(secret.to_owned());
    let read = [
        ServiceError::parse_without(body, Some(&known)),
        ServiceError::from_response_without(body, Some(&known)),
    ];
    for text in read.iter().flatten().flat_map(texts) {
        let shown = text.to_lowercase().replace("[redacted]", "|");
        for part in secret.to_lowercase().as_bytes().windows(8) {
            let part = std::str::from_utf8(part).expect("ASCII");
            assert!(!shown.contains(part), "{part}: {text:?}");
        }
    }
}

fn texts(error: &ServiceError) -> impl Iterator<Item = &String> {
    let texts = [
        &error.error,
        &error.description,
        &error.trace_id,
        &error.correlation_id,
        &error.timestamp,
    ];
    texts.into_iter().flatten()
}
