use bytes::Bytes;
use http::Response;
use keybound_core::{Error, ErrorKind, ServiceError, Stage};

/// The error that an answer other than 200 means.
pub(super) fn refusal(stage: Stage, answer: &Response<Bytes>) -> Error {
    let service = words(answer);
    let status = answer.status().as_u16();
    let kind = kind_of(stage, status, service.as_ref());
    Error::new(kind, stage, message(kind))
        .with_status(status)
        .with_service(service)
}

/// What the service said. A body that comes with success may be the secret asked for: only an error object is taken.
pub(super) fn words(answer: &Response<Bytes>) -> Option<ServiceError> {
    if answer.status().is_success() {
        ServiceError::parse(answer.body())
    } else {
        ServiceError::from_response(answer.body())
    }
}

pub(super) fn kind_of(stage: Stage, status: u16, service: Option<&ServiceError>) -> ErrorKind {
    match (stage, status) {
        (Stage::Metadata, 404) => ErrorKind::ImdsV2Unavailable,
        (Stage::Metadata | Stage::Credential, 400) if knows_no_identity(service) => {
            ErrorKind::IdentityNotFound
        }
        (_, 300..=399) => ErrorKind::RedirectRefused,
        (_, 408 | 410 | 429 | 500..=599) => ErrorKind::ServiceUnavailable,
        (_, 200..=299 | ..=199) => ErrorKind::InvalidResponse,
        (Stage::Token, _) => token_kind(service),
        _ => ErrorKind::Refused,
    }
}

/// IMDS v2 says `identity_not_found`; v1 has other words for it, which are read too.
fn knows_no_identity(service: Option<&ServiceError>) -> bool {
    service.is_some_and(|service| {
        let says = |text: &Option<String>, words: &str| {
            text.as_deref()
                .is_some_and(|text| text.trim().eq_ignore_ascii_case(words))
        };
        says(&service.error, "identity_not_found")
            || (says(&service.error, "invalid_request")
                && says(&service.description, "Identity not found"))
    })
}

/// Entra's refusals that a caller can do something particular about.
fn token_kind(service: Option<&ServiceError>) -> ErrorKind {
    let Some(service) = service else {
        return ErrorKind::Refused;
    };
    if service.has_code(RESOURCE_TAKES_NO_BOUND_TOKENS) {
        ErrorKind::ResourceTakesNoBoundTokens
    } else if service.has_code(TENANT_NOT_ELIGIBLE) {
        ErrorKind::TenantNotEligible
    } else if service.has_code(CERTIFICATE_MISSING) {
        ErrorKind::ClientCertificateNotRequested
    } else if refuses_certificate(service) {
        ErrorKind::ClientCertificateRejected
    } else {
        ErrorKind::Refused
    }
}

/// Whether a new certificate may help.
fn refuses_certificate(service: &ServiceError) -> bool {
    let invalid_client = service.error.as_deref() == Some("invalid_client");
    let codes = &service.codes;
    codes.iter().any(|code| ENDED.contains(code))
        || (invalid_client && (codes.is_empty() || codes.iter().any(|code| REVOKED.contains(code))))
}

fn message(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ImdsV2Unavailable => {
            "this host's IMDS does not offer managed identity v2 (only v1)"
        }
        ErrorKind::RedirectRefused => "the service answered with a redirect",
        ErrorKind::ServiceUnavailable => "the service failed or throttled",
        ErrorKind::InvalidResponse => "the service answered an unexpected status",
        ErrorKind::ResourceTakesNoBoundTokens => "the resource takes no bound tokens",
        ErrorKind::IdentityNotFound => "IMDS knows no such managed identity on this host",
        ErrorKind::TenantNotEligible => "the tenant is not eligible for attested bound tokens",
        ErrorKind::ClientCertificateNotRequested => {
            "the service did not see the client certificate"
        }
        ErrorKind::ClientCertificateRejected => "the service refused the client certificate",
        _ => "the service refused",
    }
}

/// AADSTS392196: MtlsClientPopTokenNotSupportedByResource.
const RESOURCE_TAKES_NO_BOUND_TOKENS: u64 = 392_196;
/// AADSTS3921996: MtlsMsiTenantNotAllowedForBoundToken.
const TENANT_NOT_ELIGIBLE: u64 = 3_921_996;
/// AADSTS392200: the handshake did not present the certificate.
const CERTIFICATE_MISSING: u64 = 392_200;
/// AADSTS1000901: the certificate is past its `token_not_after` (under `invalid_request`); AADSTS1000502: it is outside its
/// validity. A new one helps.
const ENDED: [u64; 2] = [1_000_901, 1_000_502];
/// AADSTS1000610 to 1000614: a new certificate may help.
const REVOKED: std::ops::RangeInclusive<u64> = 1_000_610..=1_000_614;

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(stage: Stage, status: u16, body: &str) -> ErrorKind {
        let mut answer = Response::new(body.to_owned().into());
        *answer.status_mut() = http::StatusCode::from_u16(status).unwrap();
        refusal(stage, &answer).kind()
    }

    #[test]
    fn statuses_by_stage() {
        assert_eq!(kind(Stage::Metadata, 404, ""), ErrorKind::ImdsV2Unavailable);
        assert_eq!(kind(Stage::Credential, 404, ""), ErrorKind::Refused);
        assert_eq!(kind(Stage::Token, 302, ""), ErrorKind::RedirectRefused);
        assert_eq!(
            kind(Stage::Credential, 429, ""),
            ErrorKind::ServiceUnavailable
        );
        assert_eq!(kind(Stage::Token, 204, ""), ErrorKind::InvalidResponse);
        assert_eq!(kind(Stage::Token, 400, "<html>"), ErrorKind::Refused);
    }

    #[test]
    fn entra_codes() {
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
                ErrorKind::ResourceTakesNoBoundTokens,
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
    fn identities_that_imds_does_not_know() {
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
