use crate::origin::invalid;
use crate::{RequestBody, TransportError};
use http::header::{CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING};
use http::{Method, Request, Uri, Version};

/// A request extension that marks a request as idempotent whatever its method (RFC 9110, section 9.2.2): if a reused
/// connection ends without a response, it is retried, as requests of safe methods are.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a marker without content")]
pub struct Idempotent;

/// Whether a request may be sent twice with the effect of one, as far as is known. PUT and DELETE are not among these, though
/// HTTP defines them as idempotent (RFC 9110, section 9.2.2): Key Vault creates a new version of a secret for each PUT, and
/// returns 404 for a second DELETE.
pub(crate) fn is_idempotent(request: &Request<RequestBody>) -> bool {
    request.method().is_safe() || request.extensions().get::<Idempotent>().is_some()
}

/// The request as it is sent: a copy with the URI in origin form (RFC 9112, section 3.2.1). A body that cannot be copied is moved
/// into it. The headers `Host` and `Content-Length` are set in both.
///
/// # Errors
/// [`InvalidRequest`](crate::TransportErrorKind::InvalidRequest); nothing was sent.
pub(crate) fn outgoing_request(
    request: &mut Request<RequestBody>,
    host: &HeaderValue,
) -> Result<Request<RequestBody>, TransportError> {
    if *request.method() == Method::CONNECT {
        return Err(invalid("the method of the request is CONNECT"));
    }
    if request
        .headers()
        .get(HOST)
        .is_some_and(|given| given != host)
    {
        return Err(invalid(
            "the host header differs from the URI of the request",
        ));
    }
    if !request.body().can_be_sent() {
        return Err(invalid(
            "the body of the request has been sent and cannot be sent again",
        ));
    }
    let uri = origin_form(request.uri())?;
    // Required if the method expects a body (RFC 9110, section 8.6); some servers insist.
    let expects_body = [Method::POST, Method::PUT, Method::PATCH].contains(request.method());
    let announces_no_body = expects_body && request.body().is_empty();
    let headers = request.headers_mut();
    headers.insert(HOST, host.clone());
    // The body determines its length.
    headers.remove(CONTENT_LENGTH);
    headers.remove(TRANSFER_ENCODING);
    if announces_no_body {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    let mut outgoing = Request::new(request.body_mut().copy_or_take());
    *outgoing.method_mut() = request.method().clone();
    *outgoing.uri_mut() = uri;
    *outgoing.version_mut() = Version::HTTP_11;
    *outgoing.extensions_mut() = request.extensions().clone();
    *outgoing.headers_mut() = request.headers().clone();
    Ok(outgoing)
}

/// Path and query. `PathAndQuery` allows a few bytes that a request line must not contain.
fn origin_form(uri: &Uri) -> Result<Uri, TransportError> {
    let malformed = || invalid("the path of the request is malformed");
    let Some(path) = uri.path_and_query() else {
        return Ok(Uri::default());
    };
    let text = path.as_str();
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(malformed());
    }
    match text.as_bytes().first() {
        Some(b'/') => Ok(path.clone().into()),
        Some(b'?') => format!("/{text}").parse().map_err(|_| malformed()),
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TransportErrorKind;
    use crate::origin::Origin;
    use http::uri::Scheme;

    fn outgoing(
        mut request: Request<RequestBody>,
    ) -> Result<(Origin, Request<RequestBody>), TransportError> {
        let origin = Origin::of(request.uri(), &Scheme::HTTPS)?;
        let outgoing = outgoing_request(&mut request, &origin.host_header(&Scheme::HTTPS)?)?;
        Ok((origin, outgoing))
    }

    fn https(uri: &str) -> Result<(Origin, Request<RequestBody>), TransportError> {
        let request = Request::builder()
            .uri(uri)
            .body(RequestBody::empty())
            .unwrap();
        outgoing(request)
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
            "/relative",
        ] {
            let error = https(uri).unwrap_err();
            assert_eq!(error.kind(), TransportErrorKind::InvalidRequest, "{uri}");
        }
        for uri in ["https://a.b%2fc/", "https://[::1/"] {
            uri.parse::<Uri>().unwrap_err();
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
        assert!(outgoing(request("host", "evil.example")).is_err());
        assert!(outgoing(request("host", "a.b")).is_ok());
        for name in ["content-length", "transfer-encoding"] {
            let (_, request) = outgoing(request(name, "7")).unwrap();
            assert!(!request.headers().contains_key(name));
        }
    }
}
