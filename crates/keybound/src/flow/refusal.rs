use crate::wire::Answer;
use keybound_core::{Error, ErrorKind, ServiceError, Stage};

/// The error that an answer other than 200 means.
pub(super) fn refusal(stage: Stage, answer: &Answer) -> Error {
    let service = words(answer);
    let status = answer.status.as_u16();
    let kind = kind_of(stage, status, service.as_ref());
    Error::new(kind, stage, message(kind))
        .with_status(status)
        .with_service(service)
}

/// What the service said. A body that comes with success may be the secret asked for: only an error object is taken.
pub(super) fn words(answer: &Answer) -> Option<ServiceError> {
    if answer.status.is_success() {
        ServiceError::parse(&answer.body)
    } else {
        ServiceError::of_answer(&answer.body)
    }
}

pub(super) fn kind_of(stage: Stage, status: u16, service: Option<&ServiceError>) -> ErrorKind {
    match (stage, status) {
        (Stage::Metadata, 404) => ErrorKind::ImdsV2Unavailable,
        (_, 300..=399) => ErrorKind::RedirectRefused,
        (_, 408 | 410 | 429 | 500..=599) => ErrorKind::ServiceUnavailable,
        (_, 200..=299 | ..=199) => ErrorKind::InvalidAnswer,
        (Stage::Token, _) => token_kind(service),
        _ => ErrorKind::Refused,
    }
}

/// Entra's refusals that a caller can do something particular about.
fn token_kind(service: Option<&ServiceError>) -> ErrorKind {
    let Some(service) = service else {
        return ErrorKind::Refused;
    };
    let invalid_client = service.error.as_deref() == Some("invalid_client");
    if service.has_code(RESOURCE_TAKES_NO_BOUND_TOKENS) {
        ErrorKind::ResourceTakesNoBoundTokens
    } else if service.has_code(CERTIFICATE_MISSING) {
        ErrorKind::ClientCertificateNotRequested
    } else if invalid_client
        && (service.codes.is_empty() || service.codes.iter().any(|code| REVOKED.contains(code)))
    {
        ErrorKind::ClientCertificateRejected
    } else {
        ErrorKind::Refused
    }
}

fn message(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ImdsV2Unavailable => {
            "this host's IMDS does not offer managed identity v2 (only v1)"
        }
        ErrorKind::RedirectRefused => "the service answered with a redirect",
        ErrorKind::ServiceUnavailable => "the service failed or throttled",
        ErrorKind::InvalidAnswer => "the service answered an unexpected status",
        ErrorKind::ResourceTakesNoBoundTokens => "the resource takes no bound tokens",
        ErrorKind::ClientCertificateNotRequested => {
            "the service did not see the client certificate"
        }
        ErrorKind::ClientCertificateRejected => "the service refused the client certificate",
        _ => "the service refused",
    }
}

/// AADSTS392196: MtlsClientPopTokenNotSupportedByResource.
const RESOURCE_TAKES_NO_BOUND_TOKENS: u64 = 392_196;
/// AADSTS392200: the handshake did not present the certificate.
const CERTIFICATE_MISSING: u64 = 392_200;
/// AADSTS1000610 to 1000614: a new certificate may help.
const REVOKED: std::ops::RangeInclusive<u64> = 1_000_610..=1_000_614;

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(stage: Stage, status: u16, body: &str) -> ErrorKind {
        let answer = Answer {
            status: http::StatusCode::from_u16(status).unwrap(),
            headers: http::HeaderMap::new(),
            body: body.to_owned().into(),
        };
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
        assert_eq!(kind(Stage::Token, 204, ""), ErrorKind::InvalidAnswer);
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
        ] {
            assert_eq!(kind(Stage::Token, 401, body), expected, "{body}");
        }
    }
}
