use crate::{TransportError, TransportErrorKind};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keybound_core::SecretString;
use keybound_core::tls::Host;
use percent_encoding::percent_decode_str;
use std::fmt;
use url::Url;

/// An HTTP proxy.
#[derive(PartialEq, Eq)]
pub(crate) struct HttpProxy {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The value of `Proxy-Authorization`.
    pub(crate) authorization: Option<SecretString>,
}

impl HttpProxy {
    /// Parses `[http://][user:password@]host[:port]`.
    ///
    /// Unescaped `/`, `?`, `#` or `\\` in credentials end them, and the text before is parsed as host and port. A URL with
    /// anything after host and port is therefore rejected, and errors never contain parts of the text.
    pub(super) fn parse(text: &str) -> Result<Self, TransportError> {
        let invalid = |message| TransportError::new(TransportErrorKind::InvalidRequest, message);
        // The URL parser removes some of them.
        if text.chars().any(char::is_control) {
            return Err(invalid("the URL of the proxy contains a control character"));
        }
        let with_scheme = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        // The parser's message could contain parts of the text.
        let url = Url::parse(&with_scheme).map_err(|_| {
            invalid(
                if text.contains('@') && after_scheme(&with_scheme).contains(AUTHORITY_END) {
                    UNESCAPED
                } else {
                    "the proxy is not a URL"
                },
            )
        })?;
        if url.scheme() != "http" {
            return Err(invalid("only proxies with an http URL are supported"));
        }
        let Some(host) = url.host() else {
            return Err(invalid("the URL of the proxy has no host"));
        };
        // The URL parser accepts names that resolvers do not.
        let host = match Host::parse(&host.to_string()) {
            None => return Err(invalid("the host of the proxy is malformed")),
            Some(Host::Ip(ip)) => ip.to_string(),
            Some(Host::Name(name)) => name.to_string(),
        };
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(invalid(UNESCAPED));
        }
        let authorization = authorization(&url).ok_or_else(|| {
            invalid(
                "the credentials of the proxy contain a control character, or its user name a colon",
            )
        })?;
        Ok(Self {
            host,
            port: url.port_or_known_default().unwrap_or(80),
            authorization,
        })
    }

    /// The name for messages, without credentials.
    pub(crate) fn name(&self) -> String {
        if self.host.contains(':') {
            format!("the proxy [{}]:{}", self.host, self.port)
        } else {
            format!("the proxy {}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for HttpProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpProxy")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

fn after_scheme(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest)
}

/// The characters that end the authority of a URL.
const AUTHORITY_END: [char; 4] = ['/', '?', '#', '\\'];
const UNESCAPED: &str = "the URL of the proxy has a path, a query or a fragment (in a password write / as %2F, ? as %3F, \
                         # as %23 and \\ as %5C)";

/// The credentials of the URL as basic authentication (RFC 7617); the outer `None` if they cannot be represented.
fn authorization(url: &Url) -> Option<Option<SecretString>> {
    if url.username().is_empty() && url.password().is_none() {
        return Some(None);
    }
    let mut plain: Vec<u8> = percent_decode_str(url.username()).collect();
    if plain.contains(&b':') {
        return None;
    }
    plain.push(b':');
    plain.extend(percent_decode_str(url.password().unwrap_or_default()));
    if plain.iter().any(u8::is_ascii_control) {
        return None;
    }
    let mut value = "Basic ".to_owned();
    STANDARD.encode_string(&plain, &mut value);
    Some(Some(SecretString::new(value)))
}
