//! The request as the caller gave it, checked and brought into the form that goes on the wire.
use crate::{RequestBody, TransportError, TransportErrorKind};
use http::header::{CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING};
use http::uri::{PathAndQuery, Scheme, Uri};
use http::{Method, Request, Version};
use keybound_core::tls::Host;
use std::sync::Arc;

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(crate) host: Host,
    pub(crate) port: u16,
}

impl Target {
    fn of(uri: &Uri, scheme: &Scheme) -> Result<Self, TransportError> {
        if uri.scheme() != Some(scheme) {
            return Err(invalid(if *scheme == Scheme::HTTPS {
                "the request is not for an https address"
            } else {
                "the request is not for a plain http address"
            }));
        }
        let authority = uri
            .authority()
            .map(http::uri::Authority::as_str)
            .unwrap_or_default();
        if authority.contains('@') {
            return Err(invalid("the address of the request holds user information"));
        }
        let (host, port) = split_port(authority);
        let host =
            Host::parse(host).ok_or_else(|| invalid("the host of the request is malformed"))?;
        let port = match port {
            None if *scheme == Scheme::HTTPS => 443,
            None => 80,
            Some(port) => {
                parse_port(port).ok_or_else(|| invalid("the port of the request is malformed"))?
            }
        };
        Ok(Self { host, port })
    }

    /// Host and port, as messages name them.
    pub(crate) fn name(&self) -> Arc<str> {
        format!("{}:{}", self.host, self.port).into()
    }

    fn host_header(&self, scheme: &Scheme) -> Result<HeaderValue, TransportError> {
        let default = if *scheme == Scheme::HTTPS { 443 } else { 80 };
        let text = if self.port == default {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        };
        HeaderValue::try_from(text).map_err(|_| invalid("the host of the request is malformed"))
    }
}

/// Checks a request and brings it into origin form. Nothing has been sent when this fails.
pub(crate) fn prepare(
    request: Request<RequestBody>,
    scheme: &Scheme,
) -> Result<(Target, Request<RequestBody>), TransportError> {
    let (mut parts, body) = request.into_parts();
    let target = Target::of(&parts.uri, scheme)?;
    if parts.method == Method::CONNECT {
        return Err(invalid("a request cannot ask for a tunnel"));
    }
    let host = target.host_header(scheme)?;
    if parts.headers.get(HOST).is_some_and(|given| *given != host) {
        return Err(invalid(
            "the host header names another host than the address",
        ));
    }
    parts.headers.insert(HOST, host);
    // The length is that of the body.
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.remove(TRANSFER_ENCODING);
    if body.is_empty() && [Method::POST, Method::PUT, Method::PATCH].contains(&parts.method) {
        // Where a body is expected its absence is to be said (RFC 9110, 8.6); some servers insist.
        parts
            .headers
            .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    let path = origin_form(&parts.uri)?;
    parts.uri = Uri::from(path);
    parts.version = Version::HTTP_11;
    Ok((target, Request::from_parts(parts, body)))
}

/// Path and query. `PathAndQuery` takes a few more bytes than a request line may hold.
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

/// Host and, where there is a colon after it, the port.
pub(crate) fn split_port(authority: &str) -> (&str, Option<&str>) {
    let start = authority.rfind(']').unwrap_or(0);
    match authority[start..].find(':') {
        Some(colon) => (
            &authority[..start + colon],
            Some(&authority[start + colon + 1..]),
        ),
        None => (authority, None),
    }
}

pub(crate) fn parse_port(text: &str) -> Option<u16> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
        .filter(|port| *port != 0)
}

fn invalid(message: &'static str) -> TransportError {
    TransportError::new(TransportErrorKind::InvalidRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn https(uri: &str) -> Result<(Target, Request<RequestBody>), TransportError> {
        let request = Request::builder()
            .uri(uri)
            .body(RequestBody::empty())
            .unwrap();
        prepare(request, &Scheme::HTTPS)
    }

    #[test]
    fn host_and_port_are_taken_from_the_address() {
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
            let (target, request) = https(uri).unwrap();
            assert_eq!(
                (target.host.to_string().as_str(), target.port),
                (host, port),
                "{uri}"
            );
            assert_eq!(request.headers()[HOST], header, "{uri}");
            assert_eq!(request.uri().to_string(), path, "{uri}");
        }
    }

    #[test]
    fn addresses_that_mislead_are_refused() {
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
            let error = prepare(request, &Scheme::HTTPS).unwrap_err();
            assert_eq!(error.kind(), TransportErrorKind::InvalidRequest, "{uri}");
        }
    }

    #[test]
    fn lengths_and_hosts_of_the_callers_making_do_not_go_out() {
        let request = |name: &str, value: &str| {
            Request::builder()
                .uri("https://a.b/")
                .header(name, value)
                .body(RequestBody::full("abc"))
                .unwrap()
        };
        assert!(prepare(request("host", "evil.example"), &Scheme::HTTPS).is_err());
        assert!(prepare(request("host", "a.b"), &Scheme::HTTPS).is_ok());
        for name in ["content-length", "transfer-encoding"] {
            let (_, request) = prepare(request(name, "7"), &Scheme::HTTPS).unwrap();
            assert!(!request.headers().contains_key(name));
        }
    }
}
