use crate::origin::{Origin, invalid};
use crate::{RequestBody, TransportError};
use http::header::{CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING};
use http::uri::{PathAndQuery, Scheme, Uri};
use http::{Method, Request, Version};

/// Checks a request and rewrites its URI to origin form (RFC 9112, section 3.2.1).
///
/// # Errors
/// [`InvalidRequest`](crate::TransportErrorKind::InvalidRequest); nothing was sent.
pub(crate) fn prepare_request(
    request: Request<RequestBody>,
    scheme: &Scheme,
) -> Result<(Origin, Request<RequestBody>), TransportError> {
    let (mut parts, body) = request.into_parts();
    let origin = Origin::of(&parts.uri, scheme)?;
    if parts.method == Method::CONNECT {
        return Err(invalid("the method of the request is CONNECT"));
    }
    let host = origin.host_header(scheme)?;
    if parts.headers.get(HOST).is_some_and(|given| *given != host) {
        return Err(invalid(
            "the host header differs from the URI of the request",
        ));
    }
    parts.headers.insert(HOST, host);
    // The body determines its length.
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.remove(TRANSFER_ENCODING);
    if body.is_empty() && [Method::POST, Method::PUT, Method::PATCH].contains(&parts.method) {
        // Required where the method expects a body (RFC 9110, section 8.6); some servers insist.
        parts
            .headers
            .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    let path = origin_form(&parts.uri)?;
    parts.uri = Uri::from(path);
    parts.version = Version::HTTP_11;
    Ok((origin, Request::from_parts(parts, body)))
}

/// Path and query. `PathAndQuery` allows a few bytes that a request line must not contain.
fn origin_form(uri: &Uri) -> Result<PathAndQuery, TransportError> {
    let text = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let malformed = || invalid("the path of the request is malformed");
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(malformed());
    }
    let path = match text.as_bytes().first() {
        Some(b'/') => text.parse(),
        Some(b'?') => format!("/{text}").parse(),
        _ => return Err(malformed()),
    };
    path.map_err(|_| malformed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TransportErrorKind;

    fn https(uri: &str) -> Result<(Origin, Request<RequestBody>), TransportError> {
        let request = Request::builder()
            .uri(uri)
            .body(RequestBody::empty())
            .unwrap();
        prepare_request(request, &Scheme::HTTPS)
    }

    #[test]
    fn host_and_port_come_from_the_uri() {
        for (uri, host, port, header, path) in [
            (
                "https://Vault.Azure.NET",
                "vault.azure.net",
                443,
                "vault.azure.net",
                "/",
            ),
            ("https://a.b.:443/x?y", "a.b", 443, "a.b", "/x?y"),
            (
                "https://127.0.0.1:8443/",
                "127.0.0.1",
                8443,
                "127.0.0.1:8443",
                "/",
            ),
            ("https://[::1]:1/", "[::1]", 1, "[::1]:1", "/"),
            ("https://a_b.c?q=1", "a_b.c", 443, "a_b.c", "/?q=1"),
        ] {
            let (origin, request) = https(uri).unwrap();
            assert_eq!(
                (origin.host.to_string().as_str(), origin.port),
                (host, port),
                "{uri}"
            );
            assert_eq!(request.headers()[HOST], header, "{uri}");
            assert_eq!(request.uri().to_string(), path, "{uri}");
        }
    }

    #[test]
    fn rejects_ambiguous_uris() {
        for uri in [
            "http://a.b/",
            "https://user@a.b/",
            "https://user:pass@a.b/",
            "https://a.b:0/",
            "https://a.b:99999/",
            "https://a.b:+1/",
            "https://a..b/",
            "https://-a.b/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://127.1/",
            "https://a.b%2fc/",
            "https://[::1/",
            "/relative",
        ] {
            let Ok(uri) = uri.parse::<Uri>() else {
                continue;
            };
            let request = Request::builder()
                .uri(uri.clone())
                .body(RequestBody::empty())
                .unwrap();
            let error = prepare_request(request, &Scheme::HTTPS).unwrap_err();
            assert_eq!(error.kind(), TransportErrorKind::InvalidRequest, "{uri}");
        }
    }

    #[test]
    fn replaces_length_headers_and_rejects_other_hosts() {
        let request = |name: &str, value: &str| {
            Request::builder()
                .uri("https://a.b/")
                .header(name, value)
                .body(RequestBody::full("abc"))
                .unwrap()
        };
        assert!(prepare_request(request("host", "evil.example"), &Scheme::HTTPS).is_err());
        assert!(prepare_request(request("host", "a.b"), &Scheme::HTTPS).is_ok());
        for name in ["content-length", "transfer-encoding"] {
            let (_, request) = prepare_request(request(name, "7"), &Scheme::HTTPS).unwrap();
            assert!(!request.headers().contains_key(name));
        }
    }
}
