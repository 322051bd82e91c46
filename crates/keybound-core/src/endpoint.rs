mod allowed_hosts;

use crate::{Error, ErrorKind, Guid, MAX_TEXT, Result, Stage};
use allowed_hosts::{AllowedHosts, is_below, is_host_name};
use url::{Host, Url};

/// Which endpoints from IMDS may receive credentials. IMDS uses plain HTTP, so its responses are not trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointPolicy {
    loopback_imds: bool,
    /// A host must be on each list.
    allowed_hosts: Vec<AllowedHosts>,
}

impl EndpointPolicy {
    /// Creates a policy. With an IMDS on loopback (`true`: the emulator) IP addresses, loopback names and all ports are
    /// allowed too.
    pub fn new(loopback_imds: bool) -> Self {
        Self {
            loopback_imds,
            allowed_hosts: vec![],
        }
    }

    /// Allows only these hosts: `login.example.com` exactly, or `*.example.com` for any name below. Case is ignored. An
    /// empty list allows no host; an entry in another form matches none. Of several lists, a host must be on each.
    #[must_use]
    pub fn with_allowed_hosts(mut self, hosts: Vec<String>) -> Self {
        self.allowed_hosts.push(AllowedHosts::from_program(hosts));
        self
    }

    /// Allows only the hosts of the operator's list, the value of `MSAL_MI_IMDSV2_ALLOWED_HOSTS`: names separated by commas or
    /// semicolons; `*.example.com` allows any name below and `example.com` itself, as in MSAL Go. A blank value restricts
    /// nothing; a list with a malformed entry, or without entries, allows no host. Hosts must also be on the lists of
    /// [`with_allowed_hosts`](Self::with_allowed_hosts).
    #[must_use]
    pub fn with_operator_hosts(mut self, list: &str) -> Self {
        self.allowed_hosts.extend(AllowedHosts::from_operator(list));
        self
    }

    /// Checks that the host of an endpoint is on the lists, for an endpoint that the caller configures too.
    ///
    /// # Errors
    /// The reason why not.
    pub fn check_listed(&self, url: &Url) -> Result<(), &'static str> {
        let host = url.host().ok_or("has no host")?;
        let mut lists = self.allowed_hosts.iter();
        lists.try_for_each(|list| list.check(&host))
    }

    /// Parses an endpoint and returns its origin. The scheme is https, also if there is none.
    fn origin(&self, text: &str) -> Result<Url, &'static str> {
        let mut url = parse_https(text)?;
        let host = url.host().ok_or("has no host")?;
        if !self.loopback_imds && (is_local(&host) || url.port_or_known_default() != Some(443)) {
            return Err("is an address, a loopback name or on a port other than 443");
        }
        self.check_listed(&url)?;
        url.set_path("/");
        url.set_query(None);
        url.set_fragment(None);
        Ok(url)
    }
}

/// Parses the attestation endpoint of the platform metadata and returns its origin.
///
/// # Errors
/// [`ErrorKind::EndpointNotAllowed`] if the policy does not allow it.
pub fn attestation_endpoint(text: &str, policy: &EndpointPolicy) -> Result<Url> {
    policy
        .origin(text)
        .map_err(|reason| refused(Stage::Metadata, "attestation endpoint", reason))
}

/// The mTLS endpoint of Entra, which takes the client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MtlsEndpoint {
    origin: Url,
    token_url: Url,
}

impl MtlsEndpoint {
    /// Parses `mtls_authentication_endpoint`, of which the origin is used, and `token_endpoint`, if present, which must have
    /// the same origin. Without it the token URL is `{origin}/{tenant}/oauth2/v2.0/token`.
    ///
    /// # Errors
    /// [`ErrorKind::EndpointNotAllowed`] if the policy does not allow it.
    pub fn new(
        endpoint: &str,
        token_endpoint: Option<&str>,
        tenant: &Guid,
        policy: &EndpointPolicy,
    ) -> Result<Self> {
        let origin = policy
            .origin(endpoint)
            .map_err(|reason| refused(Stage::Credential, "mTLS endpoint", reason))?;
        let token_url = match token_endpoint.filter(|text| !text.is_empty()) {
            None => tenant_url(&origin, tenant),
            Some(text) => same_origin(text, &origin)
                .map_err(|reason| refused(Stage::Credential, "token endpoint", reason))?,
        };
        Ok(Self { origin, token_url })
    }

    /// The origin, `https://host[:port]/`.
    pub fn origin(&self) -> &Url {
        &self.origin
    }

    /// The URL of the token endpoint.
    pub fn token_url(&self) -> &Url {
        &self.token_url
    }
}

pub(crate) fn tenant_url(origin: &Url, tenant: &Guid) -> Url {
    let mut url = origin.clone();
    url.set_path(&format!("/{tenant}/oauth2/v2.0/token"));
    url
}

fn same_origin(text: &str, origin: &Url) -> Result<Url, &'static str> {
    let mut url = parse_https(text)?;
    if url.origin() != origin.origin() {
        return Err("has another origin than the mTLS endpoint");
    }
    url.set_fragment(None);
    Ok(url)
}

fn refused(stage: Stage, what: &str, reason: &str) -> Error {
    let message = format!("the {what} that IMDS supplied {reason}");
    Error::new(ErrorKind::EndpointNotAllowed, stage, message)
}

pub(crate) fn parse_https(text: &str) -> Result<Url, &'static str> {
    if text.is_empty() || text.len() > MAX_TEXT {
        return Err("is empty or too long");
    }
    if text
        .chars()
        .any(|c| c == '\\' || c.is_control() || c.is_whitespace() || !c.is_ascii())
    {
        return Err("contains a character that is not valid in a URL");
    }
    // URL parsers find an authority in further places than after the first `://`; so it is put there.
    let rest = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => rest,
        Some(_) => return Err("is not https"),
        None => text,
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() || authority.contains(['@', '%']) || authority.ends_with(':') {
        return Err("has a malformed authority or contains user information");
    }
    let url = Url::parse(&format!("https://{rest}")).map_err(|_| "is not a URL")?;
    if !url.domain().is_none_or(is_host_name) {
        return Err("has a malformed host name");
    }
    Ok(url)
}

/// Whether it is an address, or a name of this host or its local network; services of Azure have neither.
fn is_local(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(_) | Host::Ipv6(_) => true,
        Host::Domain(name) => {
            !name.contains('.') || LOCAL_DOMAINS.iter().any(|domain| is_below(name, domain))
        }
    }
}

/// RFC 6761 section 6.3, and further names that systems use for themselves.
const LOCAL_DOMAINS: [&str; 3] = ["localhost", "localdomain", "localdomain6"];

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant() -> Guid {
        Guid::parse("22222222-2222-2222-2222-222222222222").unwrap()
    }

    fn mtls(endpoint: &str, token: Option<&str>, policy: &EndpointPolicy) -> Result<String> {
        MtlsEndpoint::new(endpoint, token, &tenant(), policy)
            .map(|endpoint| endpoint.token_url().to_string())
    }

    #[test]
    fn builds_token_url_from_origin_and_tenant() {
        let expected = "https://westus.mtlsauth.microsoft.com/22222222-2222-2222-2222-222222222222/oauth2/v2.0/token";
        for endpoint in [
            "https://westus.mtlsauth.microsoft.com",
            "https://westus.mtlsauth.microsoft.com/",
            "https://westus.mtlsauth.microsoft.com:443/some/path?x#y",
            "westus.mtlsauth.microsoft.com",
        ] {
            assert_eq!(
                mtls(endpoint, None, &EndpointPolicy::default()).unwrap(),
                expected,
                "{endpoint}"
            );
        }
    }

    #[test]
    fn requires_same_origin_for_token_endpoint() {
        let policy = EndpointPolicy::default();
        assert_eq!(
            mtls("https://a.b", Some("https://a.b/t"), &policy).unwrap(),
            "https://a.b/t"
        );
        for other in [
            "https://c.b/t",
            "http://a.b/t",
            "https://a.b:444/t",
            "https://a.b@c.d/t",
            "https://a.b.c.d/t",
            "//c.d/t",
            "/t",
            "https://a.b\\@c.d/t",
        ] {
            assert_eq!(
                mtls("https://a.b", Some(other), &policy)
                    .unwrap_err()
                    .kind(),
                ErrorKind::EndpointNotAllowed
            );
        }
    }

    #[test]
    fn endpoints_checked() {
        for endpoint in [
            "http://login.microsoftonline.com",
            "https://user@login.microsoftonline.com",
            "https://user:pass@login.microsoftonline.com",
            "https://login.microsoftonline.com\\@evil.example",
            "https://login.microsoftonline.com:8443",
            "https://login.microsoftonline.com:0",
            "https://login.microsoftonline.com:",
            "https://login.microsoftonline.com:443:443",
            "https://login.microsoftonline.com.",
            "https://login..microsoftonline.com",
            "https://.login.microsoftonline.com",
            "https://-login.microsoftonline.com",
            "https://login.microsoftonline.com;evil.example",
            "https://login_.microsoftonline.com",
            "https://*.microsoftonline.com",
            "https://login%2emicrosoftonline.com",
            "https://login.microsoftonline.com%40evil.example",
            "https://@login.microsoftonline.com",
            "https:login.microsoftonline.com",
            "https:/login.microsoftonline.com",
            "//login.microsoftonline.com",
            "https:user@login.microsoftonline.com://a.b",
            "https:login.microsoftonline.com://a.b",
            "user@login.microsoftonline.com://a.b",
            "javascript:alert(1)",
            "data://login.microsoftonline.com",
            "login.microsoftonline.com/http://x",
            "https://127.0.0.1",
            "https://2130706433",
            "https://0x7f.1",
            "https://127.1",
            "https://[::1]",
            "https://[::ffff:127.0.0.1]",
            "https://[fe80::1%25eth0]",
            "https://localhost",
            "https://LOCALHOST",
            "https://localhost.localdomain",
            "https://intranet",
            "https://x.localhost.",
            "https://",
            "https:///path",
            "ftp://a.b",
            "https://a.b\r\n",
            "https://a b.c",
            "https://a.b/\u{7f}",
            "https://a.b\u{3002}c",
            "https://\u{430}.example",
            "",
            &format!("https://a.b/{}", "x".repeat(MAX_TEXT)),
            &format!("https://{}.com", "x".repeat(64)),
            &format!("https://{}com", "x.".repeat(126)),
        ] {
            let error = mtls(endpoint, None, &EndpointPolicy::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::EndpointNotAllowed, "{endpoint}");
            assert!(
                attestation_endpoint(endpoint, &EndpointPolicy::default()).is_err(),
                "{endpoint}"
            );
        }
    }

    #[test]
    fn bounded_input() {
        let sized = |length: usize| format!("https://a.b/{}", "x".repeat(length - 12));
        let policy = EndpointPolicy::default();
        assert!(attestation_endpoint(&sized(MAX_TEXT), &policy).is_ok());
        assert!(attestation_endpoint(&sized(MAX_TEXT + 1), &policy).is_err());
        let host = |label: usize| format!("https://{}.com", "x".repeat(label));
        assert!(attestation_endpoint(&host(63), &policy).is_ok());
        assert!(attestation_endpoint(&host(64), &policy).is_err());
        let name = |length: usize| format!("https://{}com", "x.".repeat((length - 3) / 2));
        assert!(attestation_endpoint(&name(253), &policy).is_ok());
        assert!(attestation_endpoint(&name(255), &policy).is_err());
    }

    #[test]
    fn allows_loopback_for_loopback_imds_and_requires_https() {
        let policy = EndpointPolicy::new(true);
        assert!(mtls("https://127.0.0.1:8443", None, &policy).is_ok());
        assert!(mtls("https://localhost:1", None, &policy).is_ok());
        assert!(mtls("http://127.0.0.1:8443", None, &policy).is_err());
        assert!(mtls("https://u@127.0.0.1:8443", None, &policy).is_err());
        assert!(mtls("https://[::1]:8443", None, &policy).is_ok());
    }

    #[test]
    fn allow_list_fails_closed() {
        let policy = |hosts: &[&str]| {
            EndpointPolicy::default()
                .with_allowed_hosts(hosts.iter().map(ToString::to_string).collect())
        };
        assert!(
            mtls(
                "https://a.mtlsauth.microsoft.com",
                None,
                &policy(&["*.mtlsauth.microsoft.com"])
            )
            .is_ok()
        );
        assert!(mtls("https://A.B", None, &policy(&["a.b"])).is_ok());
        assert!(
            mtls(
                "https://evilmtlsauth.microsoft.com",
                None,
                &policy(&["*.mtlsauth.microsoft.com"])
            )
            .is_err()
        );
        assert!(
            mtls(
                "https://mtlsauth.microsoft.com",
                None,
                &policy(&["*.mtlsauth.microsoft.com"])
            )
            .is_err()
        );
        assert!(mtls("https://a.b", None, &policy(&[])).is_err());
        for entry in ["", "*", "*.", ".b", "*b", "https://a.b", "a.b:443", " a.b"] {
            assert!(
                mtls("https://a.b", None, &policy(&[entry])).is_err(),
                "{entry:?}"
            );
        }
        assert!(attestation_endpoint("https://a.b", &policy(&["c.d"])).is_err());
    }

    #[test]
    fn requires_host_on_every_list() {
        let policy = |program: &[&str], operator: &str| {
            EndpointPolicy::default()
                .with_operator_hosts(operator)
                .with_allowed_hosts(program.iter().map(ToString::to_string).collect())
        };
        for (program, operator, allowed) in [
            (
                &["a.example", "b.example"][..],
                "b.example;c.example",
                "b.example",
            ),
            (&["*.example"], "a.example", "a.example"),
            (&["a.example"], "*.a.example", "a.example"),
            (&["a.example"], " ", "a.example"),
        ] {
            for host in ["a.example", "b.example", "c.example", "x.a.example"] {
                let url = format!("https://{host}");
                let policy = policy(program, operator);
                assert_eq!(
                    mtls(&url, None, &policy).is_ok(),
                    host == allowed,
                    "{operator} {host}"
                );
                assert_eq!(
                    attestation_endpoint(&url, &policy).is_ok(),
                    host == allowed,
                    "{operator} {host}"
                );
            }
        }
        let error = mtls(
            "https://a.example",
            None,
            &policy(&["a.example"], "b.example"),
        )
        .unwrap_err();
        assert!(
            error.to_string().contains("MSAL_MI_IMDSV2_ALLOWED_HOSTS"),
            "{error}"
        );
    }

    #[test]
    fn wildcards_stand_for_names_not_for_addresses() {
        let policy = |host: &str| EndpointPolicy::new(true).with_allowed_hosts(vec![host.into()]);
        assert!(mtls("https://127.0.0.1:1", None, &policy("*.0.0.1")).is_err());
        assert!(mtls("https://127.0.0.1:1", None, &policy("127.0.0.1")).is_ok());
        assert!(mtls("https://[::1]:1", None, &policy("[::1]")).is_ok());
    }

    #[test]
    fn the_attestation_endpoint_is_an_origin() {
        let endpoint = attestation_endpoint(
            "https://MAA.attest.azure.net/path?query#fragment",
            &EndpointPolicy::default(),
        );
        assert_eq!(endpoint.unwrap().as_str(), "https://maa.attest.azure.net/");
    }
}
