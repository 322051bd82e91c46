use crate::{TransportError, TransportErrorKind};
use http::header::HeaderValue;
use http::uri::{Scheme, Uri};
use keybound_core::tls::Host;
use std::sync::Arc;

/// Host and port of a server. The scheme is that of the client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) host: Host,
    pub(crate) port: u16,
}

impl Origin {
    /// The origin of a URI with this scheme.
    ///
    /// # Errors
    /// [`InvalidRequest`](TransportErrorKind::InvalidRequest) if the scheme differs or the authority is malformed.
    pub(crate) fn of(uri: &Uri, scheme: &Scheme) -> Result<Self, TransportError> {
        if uri.scheme() != Some(scheme) {
            return Err(invalid(if *scheme == Scheme::HTTPS {
                "the URI of the request is not an https URI"
            } else {
                "the URI of the request is not a plain http URI"
            }));
        }
        let authority = uri
            .authority()
            .map(http::uri::Authority::as_str)
            .unwrap_or_default();
        if authority.contains('@') {
            return Err(invalid("the URI of the request contains user information"));
        }
        let (host, port) = split_port(authority);
        let host =
            Host::parse(host).ok_or_else(|| invalid("the host of the request is malformed"))?;
        let port = match port {
            None => default_port(scheme),
            Some(port) => {
                parse_port(port).ok_or_else(|| invalid("the port of the request is malformed"))?
            }
        };
        Ok(Self { host, port })
    }

    /// Host and port, for messages.
    pub(crate) fn name(&self) -> Arc<str> {
        format!("{}:{}", self.host, self.port).into()
    }

    /// The value of the header `Host`, without the scheme's default port.
    pub(crate) fn host_header(&self, scheme: &Scheme) -> Result<HeaderValue, TransportError> {
        let text = if self.port == default_port(scheme) {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        };
        HeaderValue::try_from(text).map_err(|_| invalid("the host of the request is malformed"))
    }
}

fn default_port(scheme: &Scheme) -> u16 {
    if *scheme == Scheme::HTTPS { 443 } else { 80 }
}

/// Splits an authority into the host and the text after the colon, if any.
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

pub(crate) fn invalid(message: &'static str) -> TransportError {
    TransportError::new(TransportErrorKind::InvalidRequest, message)
}
