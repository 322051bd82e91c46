//! Values of options, parsed into what they mean.
use super::attestation::Sha256;
use http::Method;
use http::header::{self, HeaderName, HeaderValue};
use keybound::ManagedIdentitySource;
use keybound::tls::{TlsEngine, TlsVersions};
use keybound_core::Guid;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;
use url::{Host, Url};

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

/// A GUID.
pub(super) fn guid(text: &str) -> Result<Guid, &'static str> {
    Guid::parse(text).ok_or("expected a GUID")
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
    if host.contains('*') {
        return Err("TLS versions are set for one host: a pattern is not supported");
    }
    Ok(TlsChoice {
        host: host_of(host)?.to_string(),
        versions,
    })
}

/// A host that endpoints may have: a name, or all names below a domain (`*.domain`).
pub(super) fn allowed_host(text: &str) -> Result<String, &'static str> {
    let Some(domain) = text.strip_prefix("*.") else {
        return match text {
            "*" => Err("any public host is allowed by default: omit the option"),
            text if text.contains('*') => Err(PATTERN),
            text if text.starts_with('.') => Err("for all names below a domain write *.domain"),
            text => Ok(host_of(text)?.to_string()),
        };
    };
    match host_of(domain)? {
        Host::Domain(domain) if !domain.contains('*') => Ok(format!("*.{domain}")),
        _ => Err(PATTERN),
    }
}

/// A host as URLs have it: lower case, in ASCII, addresses in their usual form.
fn host_of(text: &str) -> Result<Host, &'static str> {
    if text.contains(['/', '\\', '@', '?', '#']) {
        return Err("expected a host, not a URL");
    }
    let address = text
        .strip_prefix('[')
        .map_or(Some(text), |text| text.strip_suffix(']'));
    if let Some(address) = address.and_then(|text| text.parse().ok()) {
        return Ok(Host::Ipv6(address));
    }
    if text.contains(':') {
        return Err("expected a host without a port");
    }
    let of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '*');
    match Host::parse(text.strip_suffix('.').unwrap_or(text)) {
        Ok(Host::Domain(name))
            if !name.chars().all(of_name) || name.split('.').any(str::is_empty) =>
        {
            Err(HOST)
        }
        Ok(host) => Ok(host),
        Err(_) => Err(HOST),
    }
}

const HOST: &str = "expected the name of a host, such as login.example.com, or an address";
const PATTERN: &str = "expected the name of a host, or *. and a domain, such as *.example.com";

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
            Engine::Automatic => Self::SystemOrOpenSsl,
            Engine::Openssl => Self::OpenSsl,
            Engine::Schannel => Self::SChannel,
        }
    }
}

/// A managed identity source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Source {
    /// IMDS of a virtual machine: v1 for plain bearer tokens, v2 for all others
    Imds,
    /// App Service, Functions and Container Apps
    #[value(alias = "container-apps")]
    AppService,
    /// Service Fabric
    ServiceFabric,
    /// The agent of Azure Arc
    #[value(alias = "arc")]
    AzureArc,
    /// Azure Machine Learning
    MachineLearning,
    /// Azure Cloud Shell
    CloudShell,
}

impl From<Source> for ManagedIdentitySource {
    fn from(source: Source) -> Self {
        match source {
            Source::Imds => Self::Imds,
            Source::AppService => Self::AppService,
            Source::ServiceFabric => Self::ServiceFabric,
            Source::AzureArc => Self::AzureArc,
            Source::MachineLearning => Self::MachineLearning,
            Source::CloudShell => Self::CloudShell,
        }
    }
}

/// The URL of a resource: https, without user information; a fragment is removed.
pub(super) fn resource_url(text: &str) -> Result<Url, &'static str> {
    if text.len() > MAX_URL_BYTES {
        return Err("a URL has at most 8192 bytes");
    }
    let mut url = Url::parse(text).map_err(|_| "expected an absolute https URL")?;
    if url.scheme() != "https" || url.host().is_none() {
        return Err("tokens are sent over https only");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL with user information is not allowed");
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

/// A header line, `Name: value`. `Authorization` and the headers that frame the request are set by the program.
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
        .map_err(|_| "the value of a header is ASCII without control characters")?;
    Ok((name, value))
}

/// The body of a request: the text itself, or `@FILE`; `@-` is standard input.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    Text(String),
    File(PathBuf),
    Stdin,
}

pub(super) fn data(argument: OsString) -> Result<Data, &'static str> {
    match file_named(&argument) {
        None => match argument.into_string() {
            Ok(text) => Ok(Data::Text(text)),
            Err(_) => Err("the body is not UTF-8: write it to a file and name that, @FILE"),
        },
        Some(file) if file.is_empty() => Err("expected the name of a file after @"),
        Some(file) if file == "-" => Ok(Data::Stdin),
        Some(file) => Ok(Data::File(file.into())),
    }
}

/// The path after `@`, which need not be UTF-8.
#[cfg(unix)]
fn file_named(argument: &OsStr) -> Option<OsString> {
    use std::os::unix::ffi::OsStrExt as _;
    let file = argument.as_bytes().strip_prefix(b"@")?;
    Some(OsStr::from_bytes(file).to_owned())
}

#[cfg(windows)]
fn file_named(argument: &OsStr) -> Option<OsString> {
    use std::os::windows::ffi::{OsStrExt as _, OsStringExt as _};
    let units: Vec<u16> = argument.encode_wide().collect();
    let file = units.strip_prefix(&[u16::from(b'@')])?;
    Some(OsString::from_wide(file))
}

const MAX_URL_BYTES: usize = 8192;
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
    fn headers_of_the_program_cannot_be_set() {
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
        for (text, host, versions) in [
            ("my.host=1.2-1.3", "my.host", TlsVersions::Tls12Or13),
            ("My.Host.=1.2", "my.host", TlsVersions::Tls12),
            ("localhost=1.3", "localhost", TlsVersions::Tls13),
            ("127.0.0.1=1.2", "127.0.0.1", TlsVersions::Tls12),
            ("::1=1.2", "[::1]", TlsVersions::Tls12),
            ("[0:0::1]=1.2", "[::1]", TlsVersions::Tls12),
            (
                "bücher.example=1.2",
                "xn--bcher-kva.example",
                TlsVersions::Tls12,
            ),
        ] {
            let choice = tls_choice(text).unwrap();
            assert_eq!((&*choice.host, choice.versions), (host, versions), "{text}");
        }
        for (text, why) in [
            ("", "HOST=1.2"),
            ("a", "HOST=1.2"),
            ("a=1.1", "HOST=1.2"),
            ("a=1.2,b=1.2", "HOST=1.2"),
            ("a=TLSv1.2", "HOST=1.2"),
            ("a= 1.2", "HOST=1.2"),
            ("localhost:8443=1.2", "without a port"),
            ("[::1]:8443=1.2", "without a port"),
            ("127.0.0.1:8443=1.2", "without a port"),
            ("a:=1.2", "without a port"),
            ("fe80::1%eth0=1.2", "without a port"),
            ("*.example=1.2", "a pattern"),
            ("*=1.2", "a pattern"),
            ("https://a=1.2", "not a URL"),
            ("https://a/=1.2", "not a URL"),
            ("a/=1.2", "not a URL"),
            ("user@a=1.2", "not a URL"),
            (".example=1.2", "name of a host"),
            ("a..b=1.2", "name of a host"),
            ("a,b=1.2", "name of a host"),
            ("=1.2", "name of a host"),
            (".=1.2", "name of a host"),
            ("a b=1.2", "name of a host"),
            (" a=1.2", "name of a host"),
            ("a\u{1b}=1.2", "name of a host"),
            ("[::1=1.2", "without a port"),
            ("1.2.3.4.5=1.2", "name of a host"),
        ] {
            let error = tls_choice(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn allowed_hosts_are_names_and_patterns_that_can_match() {
        for (text, host) in [
            ("login.example.com", "login.example.com"),
            ("Login.Example.COM.", "login.example.com"),
            ("*.Example.com", "*.example.com"),
            ("*.example.com.", "*.example.com"),
            ("*.bücher.example", "*.xn--bcher-kva.example"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("::1", "[::1]"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(allowed_host(text).as_deref(), Ok(host), "{text}");
        }
        for (text, why) in [
            ("https://x", "not a URL"),
            ("https://*.x", "*. and a domain"),
            ("x/", "not a URL"),
            ("*.x/y", "not a URL"),
            ("u:p@x", "not a URL"),
            ("x:443", "without a port"),
            ("*.x:443", "without a port"),
            (".example", "write *.domain"),
            ("*", "omit the option"),
            ("**.x", "*. and a domain"),
            ("*x.example", "*. and a domain"),
            ("a.*.example", "*. and a domain"),
            ("*.*.example", "*. and a domain"),
            ("*.127.0.0.1", "*. and a domain"),
            ("*.", "name of a host"),
            ("*..example", "name of a host"),
            ("", "name of a host"),
            (".", "write *.domain"),
            ("a,b", "name of a host"),
            ("a b", "name of a host"),
            ("a\r", "name of a host"),
        ] {
            let error = allowed_host(text).unwrap_err();
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }

    #[test]
    fn bodies_come_as_text_from_files_and_from_standard_input() {
        assert!(matches!(data("{}".into()), Ok(Data::Text(text)) if text == "{}"));
        assert!(matches!(data("@a/b".into()), Ok(Data::File(file)) if file.as_os_str() == "a/b"));
        assert!(matches!(data("@@a".into()), Ok(Data::File(file)) if file.as_os_str() == "@a"));
        assert!(matches!(data("@-".into()), Ok(Data::Stdin)));
        assert!(data("@".into()).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn the_path_of_a_body_need_not_be_text_but_the_body_itself_must() {
        use std::os::unix::ffi::OsStrExt as _;
        let of = |bytes| OsStr::from_bytes(bytes).to_owned();
        let file = data(of(b"@a\xff/b"));
        assert!(matches!(file, Ok(Data::File(file)) if file.as_os_str() == of(b"a\xff/b")));
        assert!(data(of(b"a\xff")).is_err_and(|why| why.contains("@FILE")));
    }
}
