//! The server of a response, checked before its status is used: an intermediary between client and IMDS (a proxy, a captive
//! portal, Docker Desktop) may respond with 200, 302, 403, 404, 407, 502, 503 or 511.
use super::error_response::kind_of;
use bytes::Bytes;
use http::Response;
use http::header::SERVER;
use keybound_core::{Error, ErrorKind, Result, ServiceError, Stage, is_imds_server};

/// Rejects a response from the address of IMDS that another server sent.
pub(super) fn check_server(stage: Stage, response: &Response<Bytes>) -> Result<()> {
    if is_imds(stage, response) {
        return Ok(());
    }
    let status = response.status().as_u16();
    let error = Error::new(
        ErrorKind::NotImds,
        stage,
        "the response from the address of IMDS has no Server header that names IMDS",
    );
    if response.status().is_success() {
        return Err(error.with_service(ServiceError::from_unexpected_response(response.body())));
    }
    let transient = kind_of(stage, status, None).is_transient();
    Err(error
        .with_status(status)
        .with_service(ServiceError::from_response(response.body()))
        .with_retryable(transient))
}

/// At stage metadata, a response needs the Server header of IMDS, whatever its status. Later the address is known to be that of
/// IMDS, and the certificate is validated; only statuses that IMDS never sends are rejected.
fn is_imds(stage: Stage, response: &Response<Bytes>) -> bool {
    let names_imds = names_imds(response);
    let status = response.status().as_u16();
    match stage {
        Stage::Metadata => names_imds,
        Stage::Credential => names_imds || !matches!(status, 300..=399 | 407 | 511),
        _ => true,
    }
}

/// Whether a Server header names IMDS.
pub(super) fn names_imds(response: &Response<Bytes>) -> bool {
    let mut servers = response.headers().get_all(SERVER).iter();
    servers.any(|server| is_imds_server(server.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, StatusCode};

    fn response(status: u16, servers: &[&'static [u8]]) -> Response<Bytes> {
        let mut response = Response::new("<html><title>Sign in</title>".into());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        for server in servers {
            let server = HeaderValue::from_bytes(server).unwrap();
            response.headers_mut().append(SERVER, server);
        }
        response
    }

    #[test]
    fn metadata_needs_server_header_of_imds_at_any_status() {
        let others: [&[&'static [u8]]; 5] =
            [&[], &[b"nginx"], &[b""], &[b"\xff"], &[b"nginx", b"squid"]];
        let imds: [&[&'static [u8]]; 2] = [&[b"IMDS/150.870.65.1854"], &[b"proxy", b"IMDS/1 \xe9"]];
        for status in [
            200, 204, 302, 400, 403, 404, 407, 410, 429, 500, 502, 503, 511,
        ] {
            for servers in others {
                let error = check_server(Stage::Metadata, &response(status, servers)).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::NotImds, "{status}");
                assert_eq!(error.status(), Some(status).filter(|status| *status >= 300));
                assert!(error.to_string().ends_with(": Sign in"), "{error}");
                let transient = matches!(status, 410 | 429 | 500..=503 | 511);
                assert_eq!(error.is_retryable(), transient, "{status}");
            }
            for servers in imds {
                assert!(check_server(Stage::Metadata, &response(status, servers)).is_ok());
            }
        }
    }

    #[test]
    fn other_stages_reject_statuses_of_intermediaries() {
        for status in [200, 302, 400, 403, 404, 407, 410, 429, 500, 503, 511] {
            let intermediary = matches!(status, 302 | 407 | 511);
            let credential = check_server(Stage::Credential, &response(status, &[]));
            assert_eq!(credential.is_err(), intermediary, "{status}");
            if let Err(error) = credential {
                let found = (error.kind(), error.stage());
                assert_eq!(found, (ErrorKind::NotImds, Stage::Credential));
            }
            assert!(check_server(Stage::Credential, &response(status, &[b"IMDS/1"])).is_ok());
            assert!(check_server(Stage::Token, &response(status, &[])).is_ok());
        }
    }
}
