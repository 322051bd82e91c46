//! Rejections by a resource: without a request for the certificate, or because it could not validate the binding.
use http::header::{HeaderMap, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use keybound_core::{Challenge, Claims, Error, ErrorKind, Result, ServiceError, Stage};
use keybound_transport::{ConnectionInfo, ResponseBody};

/// Maps a rejection on a connection on which the server never requested the certificate to an error; returns any other response.
pub(crate) async fn map_missing_client_cert(
    mut response: Response<ResponseBody>,
) -> Result<Response<ResponseBody>> {
    let (kind, message) = match response.status() {
        _ if was_asked(&response) => return Ok(response),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => (
            ErrorKind::ClientCertificateNotRequested,
            "the resource rejected the request, and never requested the client certificate on this connection",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => (
            ErrorKind::BodyTooLargeForRenegotiation,
            "the body is too large to be held while the server asks for the client certificate",
        ),
        _ => return Ok(response),
    };
    let status = response.status().as_u16();
    let body = response.body_mut().peek(LONGEST_REFUSAL).await;
    Err(Error::new(kind, Stage::Resource, message)
        .with_status(status)
        .with_service(ServiceError::from_response(&body)))
}

/// The error that a status of 400 or above means, with the service's code and message.
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
    let body = body.peek(LONGEST_REFUSAL).await;
    let error = Error::new(kind, Stage::Resource, message)
        .with_status(status.as_u16())
        .with_service(ServiceError::from_response(&body));
    Some(error)
}

/// The claims of a challenge, where there is one.
pub(super) fn claims_asked(headers: &HeaderMap) -> Option<Claims> {
    headers.get_all(WWW_AUTHENTICATE).iter().find_map(|value| {
        let challenges = Challenge::parse_all(value);
        challenges.iter().find_map(Challenge::claims)
    })
}

/// Whether a 401 has the error code for a certificate that is not the one that the token is bound to.
pub(super) async fn is_binding_failure(response: &mut Response<ResponseBody>) -> bool {
    let said = |text: &str| BINDING_FAILURES.iter().any(|word| text.contains(word));
    let in_header = response
        .headers()
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .any(|value| {
            let challenges = Challenge::parse_all(value);
            challenges
                .iter()
                .filter_map(|challenge| challenge.parameter("error_description"))
                .any(said)
        });
    if in_header {
        return true;
    }
    let body = response.body_mut().peek(LONGEST_REFUSAL).await;
    let words = ServiceError::parse(&body);
    words.is_some_and(|words| {
        words.has_code(CERTIFICATE_DOES_NOT_MATCH) || words.description.as_deref().is_some_and(said)
    })
}

fn was_asked(response: &Response<ResponseBody>) -> bool {
    response
        .extensions()
        .get::<ConnectionInfo>()
        .is_none_or(|info| info.certificate_requested)
}

/// What Key Vault and Graph say (Azure SDK for .NET, pull 62756; MSAL Go's integration tests), and Entra's number.
const BINDING_FAILURES: [&str; 2] = ["MtlsCnfClaimRequestDataValidationFailed", "AADSTS500181"];
const CERTIFICATE_DOES_NOT_MATCH: u64 = 500_181;
const LONGEST_REFUSAL: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[tokio::test]
    async fn a_failed_binding_is_distinguished_from_other_refusals() {
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
            // The caller can read all of the response.
            let read = response.into_body().collect(1000).await.unwrap();
            assert_eq!(read, body);
        }
    }

    #[test]
    fn claims_are_found_in_any_header_line_and_beside_any_text() {
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
                claims_asked(&headers),
                Claims::parse("{}").ok(),
                "{headers:?}"
            );
        }
    }
}
