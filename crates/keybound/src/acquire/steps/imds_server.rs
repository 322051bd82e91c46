//! Which server responded, checked before the status is used: an intermediary between client and IMDS (a proxy, a captive portal,
//! Docker Desktop) answers 200, 302, 403, 404, 407, 502, 503 or 511 as readily as IMDS does.
use super::refusal::kind_of;
use bytes::Bytes;
use http::Response;
use http::header::SERVER;
use keybound_core::{Error, ErrorKind, Result, ServiceError, Stage, is_imds_server};

/// Refuses an answer at the address of IMDS that does not come from it.
pub(super) fn check_sender(stage: Stage, answer: &Response<Bytes>) -> Result<()> {
    if is_credible(stage, answer) {
        return Ok(());
    }
    let status = answer.status().as_u16();
    let error = Error::new(
        ErrorKind::NotImds,
        stage,
        "the response from the address of IMDS has no Server header that names IMDS",
    );
    if answer.status().is_success() {
        return Err(error.with_service(ServiceError::from_unexpected_response(answer.body())));
    }
    let passes = kind_of(stage, status, None).is_transient();
    Err(error
        .with_status(status)
        .with_service(ServiceError::from_response(answer.body()))
        .with_retryable(passes))
}

/// The metadata leg believes nobody without the header that names IMDS, whatever the status. After it the address is
/// known to lead to IMDS, and a certificate is checked by what it holds; but IMDS never answers what only intermediaries
/// do.
fn is_credible(stage: Stage, answer: &Response<Bytes>) -> bool {
    let mut servers = answer.headers().get_all(SERVER).iter();
    let names_imds = servers.any(|server| is_imds_server(server.as_bytes()));
    let status = answer.status().as_u16();
    match stage {
        Stage::Metadata => names_imds,
        Stage::Credential => names_imds || !matches!(status, 300..=399 | 407 | 511),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, StatusCode};

    fn answer(status: u16, servers: &[&'static [u8]]) -> Response<Bytes> {
        let mut answer = Response::new("<html><title>Sign in</title>".into());
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        for server in servers {
            let server = HeaderValue::from_bytes(server).unwrap();
            answer.headers_mut().append(SERVER, server);
        }
        answer
    }

    #[test]
    fn metadata_is_believed_from_imds_alone_whatever_the_status() {
        let others: [&[&'static [u8]]; 5] =
            [&[], &[b"nginx"], &[b""], &[b"\xff"], &[b"nginx", b"squid"]];
        let imds: [&[&'static [u8]]; 2] = [&[b"IMDS/150.870.65.1854"], &[b"proxy", b"IMDS/1 \xe9"]];
        for status in [
            200, 204, 302, 400, 403, 404, 407, 410, 429, 500, 502, 503, 511,
        ] {
            for servers in others {
                let error = check_sender(Stage::Metadata, &answer(status, servers)).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::NotImds, "{status}");
                assert_eq!(error.status(), Some(status).filter(|status| *status >= 300));
                assert!(error.to_string().ends_with(": Sign in"), "{error}");
                let transient = matches!(status, 410 | 429 | 500..=503 | 511);
                assert_eq!(error.is_retryable(), transient, "{status}");
            }
            for servers in imds {
                assert!(check_sender(Stage::Metadata, &answer(status, servers)).is_ok());
            }
        }
    }

    #[test]
    fn other_legs_refuse_what_only_intermediaries_answer() {
        for status in [200, 302, 400, 403, 404, 407, 410, 429, 500, 503, 511] {
            let intermediary = matches!(status, 302 | 407 | 511);
            let credential = check_sender(Stage::Credential, &answer(status, &[]));
            assert_eq!(credential.is_err(), intermediary, "{status}");
            if let Err(error) = credential {
                let is = (error.kind(), error.stage());
                assert_eq!(is, (ErrorKind::NotImds, Stage::Credential));
            }
            assert!(check_sender(Stage::Credential, &answer(status, &[b"IMDS/1"])).is_ok());
            assert!(check_sender(Stage::Token, &answer(status, &[])).is_ok());
        }
    }
}
