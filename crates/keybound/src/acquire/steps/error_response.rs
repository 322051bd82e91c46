use bytes::Bytes;
use http::Response;
use keybound_core::{Error, ErrorKind, SecretString, ServiceError, Stage};

/// The error of a response with another status than 200.
pub(super) fn error_of(stage: Stage, response: &Response<Bytes>) -> Error {
    // The body of a successful response may hold a secret: only an error object is read.
    let service = match response.status().is_success() {
        true => ServiceError::parse(response.body()),
        false => ServiceError::from_response(response.body()),
    };
    let status = response.status().as_u16();
    let kind = kind_of(stage, status, service.as_ref());
    Error::new(kind, stage, message(kind))
        .with_status(status)
        .with_service(service)
}

/// The error of a response to the exchange of an assertion, bound or not. The response may repeat the assertion.
pub(super) fn exchange_error(
    response: &Response<Bytes>,
    assertion: &SecretString,
    bound: bool,
) -> Error {
    let body = response.body();
    let service = match response.status().is_success() {
        true => ServiceError::parse_without(body, Some(assertion)),
        false => ServiceError::from_response_without(body, Some(assertion)),
    };
    let status = response.status().as_u16();
    let rejects_certificate = bound && is_wrong_signature(service.as_ref());
    let kind = match kind_of(Stage::Exchange, status, service.as_ref()) {
        ErrorKind::AssertionRejected if rejects_certificate => ErrorKind::Refused,
        kind => kind,
    };
    Error::new(kind, Stage::Exchange, message(kind))
        .with_status(status)
        .with_service(service)
}

/// The error kind of a status.
pub(super) fn kind_of(stage: Stage, status: u16, service: Option<&ServiceError>) -> ErrorKind {
    match (stage, status) {
        (Stage::Metadata, 404) => ErrorKind::ImdsV2Unavailable,
        (Stage::Metadata | Stage::Credential, 400) if is_identity_not_found(service) => {
            ErrorKind::IdentityNotFound
        }
        (_, 300..=399) => ErrorKind::RedirectNotAllowed,
        (_, 408 | 410 | 429 | 500..=599) => ErrorKind::ServiceUnavailable,
        (_, 200..=299 | ..=199) => ErrorKind::InvalidResponse,
        (Stage::Exchange, _) if rejects_assertion(service) => ErrorKind::AssertionRejected,
        (Stage::Token | Stage::Exchange, _) => token_kind(service),
        _ => ErrorKind::Refused,
    }
}

/// The error code of IMDS v2 is `identity_not_found`; that of v1 is accepted too.
fn is_identity_not_found(service: Option<&ServiceError>) -> bool {
    service.is_some_and(|service| {
        let is = |field: &Option<String>, value: &str| {
            field
                .as_deref()
                .is_some_and(|field| field.trim().eq_ignore_ascii_case(value))
        };
        is(&service.error, "identity_not_found")
            || (is(&service.error, "invalid_request")
                && is(&service.description, "Identity not found"))
    })
}

/// The errors of Entra that have a kind of their own.
fn token_kind(service: Option<&ServiceError>) -> ErrorKind {
    let Some(service) = service else {
        return ErrorKind::Refused;
    };
    if service.has_code(RESOURCE_DOES_NOT_SUPPORT_BOUND_TOKENS) {
        ErrorKind::BoundTokensNotAccepted
    } else if service.has_code(TENANT_NOT_ELIGIBLE) {
        ErrorKind::TenantNotEligible
    } else if service.has_code(CERTIFICATE_MISSING) {
        ErrorKind::ClientCertificateNotRequested
    } else if rejects_certificate(service) {
        ErrorKind::ClientCertificateRejected
    } else {
        ErrorKind::Refused
    }
}

/// Whether Entra rejected the certificate, so that a new one may help.
fn rejects_certificate(service: &ServiceError) -> bool {
    let invalid_client = service.error.as_deref() == Some("invalid_client");
    let codes = &service.codes;
    codes.iter().any(|code| EXPIRED.contains(code))
        || (invalid_client && (codes.is_empty() || codes.iter().any(|code| REVOKED.contains(code))))
}

/// Whether Entra does not accept an assertion: another one, or another federated credential, may help. The assertion authenticates
/// the client, so that it is meant by `invalid_client` without codes (RFC 7521 section 4.2.1).
fn rejects_assertion(service: Option<&ServiceError>) -> bool {
    service.is_some_and(|service| {
        let codes = &service.codes;
        codes.iter().any(|code| ASSERTION_REJECTED.contains(code))
            || (codes.is_empty() && service.error.as_deref() == Some("invalid_client"))
    })
}

fn message(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ImdsV2Unavailable => {
            "this host's IMDS does not offer managed identity v2 (only v1)"
        }
        ErrorKind::RedirectNotAllowed => "the service responded with a redirect",
        ErrorKind::ServiceUnavailable => "the service failed or throttled the request",
        ErrorKind::InvalidResponse => "the service responded with an unexpected status",
        ErrorKind::BoundTokensNotAccepted => "the resource does not support bound tokens",
        ErrorKind::IdentityNotFound => "IMDS did not find the managed identity on this host",
        ErrorKind::TenantNotEligible => "the tenant is not eligible for attested bound tokens",
        ErrorKind::AssertionRejected => {
            "Entra did not accept the assertion for the app registration"
        }
        ErrorKind::ClientCertificateNotRequested => "the service received no client certificate",
        ErrorKind::ClientCertificateRejected => "the service rejected the client certificate",
        _ => "the service rejected the request",
    }
}

/// Whether the only code is that of a wrong signature or a certificate that is not registered: of a bound assertion it is about the
/// certificate, which neither another assertion nor a new certificate remedies.
fn is_wrong_signature(service: Option<&ServiceError>) -> bool {
    service.is_some_and(|service| service.codes == [WRONG_SIGNATURE])
}

/// AADSTS392196: MtlsClientPopTokenNotSupportedByResource.
const RESOURCE_DOES_NOT_SUPPORT_BOUND_TOKENS: u64 = 392_196;
/// AADSTS3921996: MtlsMsiTenantNotAllowedForBoundToken.
const TENANT_NOT_ELIGIBLE: u64 = 3_921_996;
/// AADSTS392200: the handshake did not present the certificate.
const CERTIFICATE_MISSING: u64 = 392_200;
/// AADSTS1000901: the certificate is past its `token_not_after` (under `invalid_request`); AADSTS1000502: it is outside its
/// validity. A new one is accepted.
const EXPIRED: [u64; 2] = [1_000_901, 1_000_502];
/// AADSTS700027.
const WRONG_SIGNATURE: u64 = 700_027;
/// AADSTS70021, 700211, 700212, 700213, 7002131: no federated credential has the assertion's issuer, audience, subject; 70025: the app
/// registration has none; 700024: the assertion is not valid now; 50027: it is no token; 700027: its signature is wrong; 700222: it is
/// of an issuer that is not allowed.
const ASSERTION_REJECTED: [u64; 10] = [
    70_021,
    70_025,
    700_211,
    700_212,
    700_213,
    7_002_131,
    700_024,
    50_027,
    WRONG_SIGNATURE,
    700_222,
];
/// AADSTS1000610 to 1000614: a new certificate may be accepted.
const REVOKED: std::ops::RangeInclusive<u64> = 1_000_610..=1_000_614;

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(stage: Stage, status: u16, body: &str) -> ErrorKind {
        let mut response = Response::new(body.to_owned().into());
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
        error_of(stage, &response).kind()
    }

    #[test]
    fn maps_statuses_by_stage() {
        assert_eq!(kind(Stage::Metadata, 404, ""), ErrorKind::ImdsV2Unavailable);
        assert_eq!(kind(Stage::Credential, 404, ""), ErrorKind::Refused);
        assert_eq!(kind(Stage::Token, 302, ""), ErrorKind::RedirectNotAllowed);
        assert_eq!(
            kind(Stage::Credential, 429, ""),
            ErrorKind::ServiceUnavailable
        );
        assert_eq!(kind(Stage::Token, 204, ""), ErrorKind::InvalidResponse);
        assert_eq!(kind(Stage::Token, 400, "<html>"), ErrorKind::Refused);
    }

    #[test]
    fn maps_aadsts_codes() {
        for (body, expected) in [
            (
                r#"{"error":"invalid_client"}"#,
                ErrorKind::ClientCertificateRejected,
            ),
            (
                r#"{"error":"invalid_client","error_codes":[1000610]}"#,
                ErrorKind::ClientCertificateRejected,
            ),
            (
                r#"{"error":"invalid_client","error_codes":[1000614]}"#,
                ErrorKind::ClientCertificateRejected,
            ),
            (
                r#"{"error":"invalid_client","error_codes":[1000615]}"#,
                ErrorKind::Refused,
            ),
            (
                r#"{"error":"invalid_client","error_codes":[700027]}"#,
                ErrorKind::Refused,
            ),
            (
                r#"{"error":"invalid_request","error_codes":[392196]}"#,
                ErrorKind::BoundTokensNotAccepted,
            ),
            (
                r#"{"error":"invalid_client","error_codes":[392200]}"#,
                ErrorKind::ClientCertificateNotRequested,
            ),
            (
                r#"{"error":"invalid_request","error_codes":[1000901]}"#,
                ErrorKind::ClientCertificateRejected,
            ),
            (
                r#"{"error":"invalid_client","error_codes":[1000901]}"#,
                ErrorKind::ClientCertificateRejected,
            ),
            (
                r#"{"error":"invalid_request","error_codes":[1000502]}"#,
                ErrorKind::ClientCertificateRejected,
            ),
            (
                r#"{"error":"invalid_client","error_codes":[1000502,50000]}"#,
                ErrorKind::ClientCertificateRejected,
            ),
            (
                r#"{"error":"invalid_request","error_codes":[1000900]}"#,
                ErrorKind::Refused,
            ),
            (
                r#"{"error":"invalid_request","error_codes":[1000610]}"#,
                ErrorKind::Refused,
            ),
            (
                r#"{"error":"invalid_request","error_codes":[3921996]}"#,
                ErrorKind::TenantNotEligible,
            ),
            (
                r#"{"error":"invalid_request","error_codes":[39219960]}"#,
                ErrorKind::Refused,
            ),
        ] {
            for status in [400, 401] {
                assert_eq!(kind(Stage::Token, status, body), expected, "{body}");
            }
        }
    }

    #[test]
    fn tells_a_rejected_assertion_from_a_rejected_certificate() {
        for (body, expected) in [
            (
                r#"{"error":"invalid_client"}"#,
                ErrorKind::AssertionRejected,
            ),
            (
                r#"{"error":"invalid_client","error_codes":[700024]}"#,
                ErrorKind::AssertionRejected,
            ),
            (
                r#"{"error":"invalid_client","error_codes":[1000610]}"#,
                ErrorKind::ClientCertificateRejected,
            ),
            (
                r#"{"error":"invalid_request","error_codes":[1000901]}"#,
                ErrorKind::ClientCertificateRejected,
            ),
            (
                r#"{"error":"invalid_client","error_codes":[7000215]}"#,
                ErrorKind::Refused,
            ),
            (r#"{"error":"invalid_request"}"#, ErrorKind::Refused),
        ] {
            for status in [400, 401] {
                assert_eq!(kind(Stage::Exchange, status, body), expected, "{body}");
            }
        }
    }

    #[test]
    fn maps_identity_not_found_of_imds() {
        for body in [
            r#"{"error":"identity_not_found","error_description":"Managed Identity not found"}"#,
            r#"{"error":"Identity_Not_Found"}"#,
            r#"{"error":{"code":"identity_not_found","message":"x"}}"#,
            r#"{"error":"invalid_request","error_description":"Identity not found"}"#,
        ] {
            for stage in [Stage::Metadata, Stage::Credential] {
                assert_eq!(
                    kind(stage, 400, body),
                    ErrorKind::IdentityNotFound,
                    "{body}"
                );
            }
            assert_eq!(kind(Stage::Token, 400, body), ErrorKind::Refused, "{body}");
        }
        for body in [
            "",
            r#"{"error":"invalid_request"}"#,
            r#"{"error":"invalid_request","error_description":"Required metadata header not specified"}"#,
            r#"{"error":"not_found","error_description":"Identity not found"}"#,
        ] {
            assert_eq!(
                kind(Stage::Metadata, 400, body),
                ErrorKind::Refused,
                "{body}"
            );
        }
        let body = r#"{"error":"identity_not_found"}"#;
        assert_eq!(
            kind(Stage::Metadata, 404, body),
            ErrorKind::ImdsV2Unavailable
        );
    }
}
