//! Values of options, parsed into what they mean.
use super::attestation::Sha256;
use http::Method;
use http::header::{self, HeaderName, HeaderValue};
use keybound::{Claims, ManagedIdentity, Scope, TlsEngine, TlsVersions};
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

pub(super) fn scope(text: &str) -> Result<Scope, keybound::Error> {
    Scope::for_resource(text)
}

pub(super) fn claims(text: &str) -> Result<Claims, keybound::Error> {
    Claims::parse(text)
}

pub(super) fn client_id(text: &str) -> Result<ManagedIdentity, keybound::Error> {
    ManagedIdentity::client_id(text)
}

pub(super) fn object_id(text: &str) -> Result<ManagedIdentity, keybound::Error> {
    ManagedIdentity::object_id(text)
}

pub(super) fn resource_id(text: &str) -> Result<ManagedIdentity, keybound::Error> {
    ManagedIdentity::resource_id(text)
}

/// A SHA-256 as hex digits.
pub(super) fn sha256(text: &str) -> Result<Sha256, &'static str> {
    const RULE: &str = "expected 64 hex digits";
    let mut hash = [0; 32];
    if text.len() != 2 * hash.len() || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(RULE);
    }
    for (byte, at) in hash.iter_mut().zip((0..text.len()).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| RULE)?;
    }
    Ok(Sha256(hash))
}

/// Seconds, fractions allowed.
pub(super) fn timeout(text: &str) -> Result<Duration, &'static str> {
    const RULE: &str = "expected seconds above 0, at most 86400";
    let seconds: f64 = text.parse().map_err(|_| RULE)?;
    if seconds > 0.0 && seconds <= 86_400.0 {
        Duration::try_from_secs_f64(seconds).map_err(|_| RULE)
    } else {
        Err(RULE)
    }
}

/// The TLS versions for a host.
#[derive(Clone, Debug)]
pub(crate) struct TlsChoice {
    pub(crate) host: String,
    pub(crate) versions: TlsVersions,
}

pub(super) fn tls_choice(text: &str) -> Result<TlsChoice, &'static str> {
    const RULE: &str = "expected HOST=1.2, HOST=1.3 or HOST=1.2-1.3";
    let (host, versions) = text.split_once('=').ok_or(RULE)?;
    let versions = match versions {
        "1.2" => TlsVersions::Tls12,
        "1.3" => TlsVersions::Tls13,
        "1.2-1.3" => TlsVersions::Tls12Or13,
        _ => return Err(RULE),
    };
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/') {
        return Err(RULE);
    }
    Ok(TlsChoice {
        host: host.to_owned(),
        versions,
    })
}

/// The TLS library.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Engine {
    Automatic,
    Openssl,
    Schannel,
}

impl From<Engine> for TlsEngine {
    fn from(engine: Engine) -> Self {
        match engine {
            Engine::Automatic => Self::Automatic,
            Engine::Openssl => Self::OpenSsl,
            Engine::Schannel => Self::SChannel,
        }
    }
}

/// The URL of a resource: https, without user information; a fragment is dropped.
pub(super) fn resource_url(text: &str) -> Result<Url, &'static str> {
    if text.len() > LONGEST_URL {
        return Err("a URL has at most 8192 bytes");
    }
    let mut url = Url::parse(text).map_err(|_| "expected an absolute https URL")?;
    if url.scheme() != "https" || url.host().is_none() {
        return Err("tokens are sent over https only");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL with user information is not called");
    }
    url.set_fragment(None);
    Ok(url)
}

pub(super) fn method(text: &str) -> Result<Method, &'static str> {
    const RULE: &str = "expected a method such as GET or POST";
    match Method::from_bytes(text.as_bytes()) {
        Ok(method) if method != Method::CONNECT => Ok(method),
        _ => Err(RULE),
    }
}

/// A header line, `Name: value`. `Authorization` is the token's, and what frames the request is the program's.
pub(super) fn header(text: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    let (name, value) = text.split_once(':').ok_or("expected 'Name: value'")?;
    let name: HeaderName = name
        .parse()
        .map_err(|_| "the name of a header has letters, digits and dashes only")?;
    if name == header::AUTHORIZATION {
        return Err("Authorization carries the token and cannot be set");
    }
    if FRAMING.contains(&name) {
        return Err("this header frames the request and cannot be set");
    }
    let value = HeaderValue::from_str(value.trim_matches([' ', '\t']))
        .map_err(|_| "the value of a header holds no control characters and is ASCII")?;
    Ok((name, value))
}

/// The body of a request: the text itself, or `@FILE`; `@-` is standard input.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    Text(String),
    File(PathBuf),
    Stdin,
}

pub(super) fn data(text: &str) -> Result<Data, &'static str> {
    match text.strip_prefix('@') {
        None => Ok(Data::Text(text.to_owned())),
        Some("") => Err("expected the name of a file after @"),
        Some("-") => Ok(Data::Stdin),
        Some(file) => Ok(Data::File(file.into())),
    }
}

const LONGEST_URL: usize = 8192;
const FRAMING: [HeaderName; 8] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::EXPECT,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_header_injection() {
        for text in [
            "X: a\r\nY: b",
            "X: a\nY: b",
            "X: a\0",
            "X\r\n: a",
            "X Y: a",
            ": a",
            "X",
            "",
            "Ü: a",
            "X: \u{7f}",
        ] {
            assert!(header(text).is_err(), "{text:?}");
        }
        let (name, value) = header("X-Thing:  a: b ").unwrap();
        assert_eq!((name.as_str(), value.as_bytes()), ("x-thing", &b"a: b"[..]));
    }

    #[test]
    fn headers_that_are_the_programs_own_cannot_be_set() {
        for name in [
            "Authorization",
            "AUTHORIZATION",
            "Content-Length",
            "Host",
            "Transfer-Encoding",
        ] {
            assert!(header(&format!("{name}: x")).is_err(), "{name}");
        }
        assert!(header("x-ms-tokenboundauth: true").is_ok());
    }

    #[test]
    fn only_https_urls_without_user_information_are_called() {
        for text in [
            "http://a.b",
            "a.b",
            "/x",
            "https://",
            "https://u@a.b",
            "https://u:p@a.b",
            "file:///etc/passwd",
            &format!("https://a.b/{}", "x".repeat(8192)),
        ] {
            assert!(resource_url(text).is_err(), "{text}");
        }
        let url = resource_url("https://a.b/v1.0/applications?$top=5#x").unwrap();
        assert_eq!(url.as_str(), "https://a.b/v1.0/applications?$top=5");
    }

    #[test]
    fn timeouts_are_positive_and_finite() {
        for text in ["0", "-1", "nan", "inf", "86401", "1e300", "", "x"] {
            assert!(timeout(text).is_err(), "{text}");
        }
        assert_eq!(timeout("0.25"), Ok(Duration::from_millis(250)));
    }

    #[test]
    fn tls_choices_name_a_host_and_its_versions() {
        let choice = tls_choice("my.host=1.2-1.3").unwrap();
        assert_eq!(choice.host, "my.host");
        assert_eq!(choice.versions, TlsVersions::Tls12Or13);
        for text in ["", "a", "a=1.1", "=1.2", "https://a/=1.2", "a b=1.2"] {
            assert!(tls_choice(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bodies_come_as_text_from_files_and_from_standard_input() {
        assert!(matches!(data("{}"), Ok(Data::Text(text)) if text == "{}"));
        assert!(matches!(data("@a/b"), Ok(Data::File(file)) if file.as_os_str() == "a/b"));
        assert!(matches!(data("@-"), Ok(Data::Stdin)));
        assert!(data("@").is_err());
    }
}
