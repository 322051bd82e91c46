//! Error responses of a resource, and the errors that they are mapped to.
use http::header::{HeaderMap, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use keybound_core::{Challenge, Claims, Error, ErrorKind, ServiceError, Stage};
use keybound_transport::ResponseBody;

/// The error of a rejection on a connection on which the server never requested the certificate; `None` for any other response.
pub(crate) async fn missing_client_cert(response: &mut Response<ResponseBody>) -> Option<Error> {
    let status = response.status();
    let (kind, message) = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => (
            ErrorKind::ClientCertificateNotRequested,
            "the resource rejected the request, and never requested the client certificate on this connection",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => (
            ErrorKind::BodyTooLargeForRenegotiation,
            "the body is too large for the server to buffer while it requests the client certificate",
        ),
        _ => return None,
    };
    if certificate_requested(response) {
        return None;
    }
    Some(error(kind, message, status, response.body_mut()).await)
}

/// The error for a status of 400 or above.
pub(super) async fn error_of_status(status: StatusCode, body: &mut ResponseBody) -> Option<Error> {
    let (kind, message) = match status.as_u16() {
        ..400 => return None,
        408 | 429 | 500..=599 => (
            ErrorKind::ServiceUnavailable,
            "the resource failed or throttled the request",
        ),
        403 => (
            ErrorKind::Refused,
            "the resource accepted the token and denied the permission",
        ),
        _ => (ErrorKind::Refused, "the resource rejected the request"),
    };
    Some(error(kind, message, status, body).await)
}

/// An error with the status, and the code and message in the body.
async fn error(
    kind: ErrorKind,
    message: &'static str,
    status: StatusCode,
    body: &mut ResponseBody,
) -> Error {
    let body = body.peek(MAX_ERROR_BODY).await;
    Error::new(kind, Stage::Resource, message)
        .with_status(status.as_u16())
        .with_service(ServiceError::from_response(&body))
}

/// The claims of a claims challenge.
pub(super) fn challenge_claims(headers: &HeaderMap) -> Option<Claims> {
    headers.get_all(WWW_AUTHENTICATE).iter().find_map(|value| {
        let challenges = Challenge::parse_all(value);
        challenges.iter().find_map(Challenge::claims)
    })
}

/// Whether a 401 has the error code for a certificate that is not the one that the token is bound to.
pub(super) async fn is_binding_failure(response: &mut Response<ResponseBody>) -> bool {
    let has_code = |text: &str| BINDING_FAILURES.iter().any(|code| text.contains(code));
    let in_header = response
        .headers()
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .any(|value| {
            let challenges = Challenge::parse_all(value);
            challenges
                .iter()
                .filter_map(|challenge| challenge.parameter("error_description"))
                .any(has_code)
        });
    if in_header {
        return true;
    }
    let body = response.body_mut().peek(MAX_ERROR_BODY).await;
    ServiceError::parse(&body).is_some_and(|service| {
        service.has_code(CERTIFICATE_MISMATCH)
            || service.description.as_deref().is_some_and(has_code)
    })
}

fn certificate_requested(response: &Response<ResponseBody>) -> bool {
    let connection = response.body().connection();
    connection.is_none_or(|info| info.certificate_requested)
}

/// The codes of Key Vault and Graph (Azure SDK for .NET, pull 62756; MSAL Go's integration tests), and Entra's number.
const BINDING_FAILURES: [&str; 2] = ["MtlsCnfClaimRequestDataValidationFailed", "AADSTS500181"];
const CERTIFICATE_MISMATCH: u64 = 500_181;
const MAX_ERROR_BODY: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[tokio::test]
    async fn detects_binding_failures() {
        let vault = r#"{"error":{"code":"Unauthorized","message":"[MtlsCnfClaimRequestDataValidationFailed] no"}}"#;
        for (header, body, expected) in [
            ("Bearer", vault, true),
            (
                "Bearer",
                r#"{"error":"invalid_client","error_description":"no","error_codes":[500181]}"#,
                true,
            ),
            (
                r#"mtls_pop error="invalid_token", error_description="AADSTS500181: no""#,
                "",
                true,
            ),
            (
                "Bearer",
                r#"{"error":{"code":"Unauthorized","message":"expired"}}"#,
                false,
            ),
            (
                "Bearer",
                r#"{"details":"MtlsCnfClaimRequestDataValidationFailed"}"#,
                false,
            ),
            ("Bearer", "MtlsCnfClaimRequestDataValidationFailed", false),
            (r#"Bearer error="invalid_token""#, "[]", false),
            (
                "Bearer",
                "\u{feff}{\"error\":{\"message\":\"MtlsCnfClaimRequestDataValidationFailed\"}}",
                true,
            ),
            (
                "PoP realm=\"Zugriff für alle\", error_description=\"AADSTS500181: ungültig\"",
                "",
                true,
            ),
        ] {
            let mut response = Response::new(ResponseBody::full(body));
            let header = HeaderValue::from_bytes(header.as_bytes()).unwrap();
            response.headers_mut().insert(WWW_AUTHENTICATE, header);
            assert_eq!(is_binding_failure(&mut response).await, expected, "{body}");
            // The body is still complete for the caller.
            let read = response.into_body().collect(1000).await.unwrap();
            assert_eq!(read, body);
        }
    }

    #[test]
    fn finds_claims_in_any_header_and_beside_any_text() {
        let challenge = "Bearer error=\"insufficient_claims\", claims=\"e30\"";
        let described = challenge.replace(", claims", ", error_description=\"no vá\", claims");
        let latin_1 = described.replace('á', "?").into_bytes();
        let latin_1: Vec<u8> = latin_1
            .into_iter()
            .map(|b| if b == b'?' { 0xe1 } else { b })
            .collect();
        for lines in [
            vec![challenge.as_bytes()],
            vec![described.as_bytes()],
            vec![&latin_1],
            vec![b"Basic realm=\"\xff\"", challenge.as_bytes()],
            vec![
                b"\xff",
                b"Negotiate YWJj",
                described.to_uppercase().replace("E30", "e30").as_bytes(),
            ],
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(WWW_AUTHENTICATE, HeaderValue::from_bytes(line).unwrap());
            }
            assert_eq!(
                challenge_claims(&headers),
                Claims::parse("{}").ok(),
                "{headers:?}"
            );
        }
    }
}
