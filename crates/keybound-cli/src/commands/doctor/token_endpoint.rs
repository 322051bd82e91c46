//! The connection to the token endpoint: its name, its TLS, its certificate.
use super::clock::ServiceTime;
use crate::diagnosis::{Finding, Level};
use crate::emulation;
use crate::text::{rfc3339, span};
use http::{HeaderMap, Request};
use keybound::http::ConnectionInfo;
use keybound::tls::{ProxyConfig, TransportErrorKind};
use keybound::{Clock as _, Error, ErrorKind, Guid, Result, Stage, SystemClock};
use keybound_core::{EndpointPolicy, MtlsEndpoint};
use keybound_transport::{HttpsClient, RequestBody};
use std::io;
use std::time::{Duration, SystemTime};
use url::{Host, Url};

/// The token endpoint.
#[derive(Debug)]
pub(super) enum Target {
    Url(Url),
    /// Why there is none.
    None(&'static str),
}

impl Target {
    /// The named endpoint, otherwise the emulator's if IMDS is on loopback, otherwise that of the public cloud.
    pub(super) fn of(named: Option<Url>, loopback_imds: bool) -> Self {
        let of_emulator = || emulation::token_endpoint().filter(|_| loopback_imds);
        match named.or_else(of_emulator) {
            Some(url) => Self::Url(url),
            None if loopback_imds => {
                Self::None("not known without a certificate; see --token-endpoint")
            }
            None => match Url::parse(PUBLIC_CLOUD) {
                Ok(url) => Self::Url(url),
                Err(_) => Self::None("not known"),
            },
        }
    }

    /// Checks that the client would use an endpoint on this host.
    pub(super) fn check(&self, policy: &EndpointPolicy) -> Result<()> {
        let Self::Url(url) = self else {
            return Ok(());
        };
        // The tenant is part of the path, which no rule is about.
        let tenant = Guid::parse("00000000-0000-0000-0000-000000000000");
        let tenant = tenant.ok_or_else(|| Error::invalid_request("no tenant"))?;
        MtlsEndpoint::new(url.as_str(), None, &tenant, policy).map(|_| ())
    }

    /// Whether the proxy applies to it.
    pub(super) fn uses(&self, proxy: &ProxyConfig) -> Result<bool> {
        match self {
            Self::Url(url) => proxy.is_used_for(url),
            Self::None(_) => Ok(false),
        }
    }
}

/// How the token endpoint is reached.
pub(super) struct Connection<'a> {
    pub(super) target: &'a Target,
    /// Whether the client would use the endpoint.
    pub(super) allowed: Result<()>,
    pub(super) proxied: Result<bool>,
}

impl Connection<'_> {
    /// Looks up the name.
    pub(super) async fn resolve(&self, limit: Duration) -> Finding {
        let url = match self.target {
            Target::None(why) => return Finding::skipped(*why),
            Target::Url(_) if !matches!(self.proxied, Ok(false)) => {
                return Finding::skipped("the proxy looks up the token endpoint");
            }
            Target::Url(url) => url,
        };
        let Some(Host::Domain(name)) = url.host() else {
            return Finding::ok("the token endpoint is named by its address");
        };
        let port = url.port_or_known_default().unwrap_or(443);
        let lookup = tokio::net::lookup_host((name, port));
        let result = match tokio::time::timeout(limit, lookup).await {
            Ok(found) => found.map(Iterator::count),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        judge_name(name, result)
    }

    /// Connects, and sends a request without a certificate, whose response is not an error whatever its status.
    pub(super) async fn connect(
        &self,
        dns: &Finding,
        https: impl FnOnce() -> Result<HttpsClient>,
        limit: Duration,
    ) -> (Finding, Option<ServiceTime>) {
        let url = match self.target {
            Target::None(why) => return (Finding::skipped(*why), None),
            Target::Url(_) if dns.level == Level::Problem => {
                return (Finding::skipped("the name has no known address"), None);
            }
            Target::Url(url) => url,
        };
        if self.proxied.is_err() {
            return (Finding::skipped("the proxy setting is malformed"), None);
        }
        if let Err(error) = &self.allowed {
            let detail = "the token endpoint is not allowed";
            return (Finding::failed(detail, error.clone()), None);
        }
        match request(url, https, limit).await {
            Ok((headers, connection)) => {
                let time = ServiceTime::of("the token endpoint", &headers);
                let server = Server::of(&connection);
                (judge_server(&server, SystemClock.now()), time)
            }
            Err(error) => (judge_error(error), None),
        }
    }
}

/// A connection to the server.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) tls: String,
    /// The end of the validity of its certificate, if that can be read.
    pub(super) not_after: Option<SystemTime>,
}

impl Server {
    fn of(connection: &ConnectionInfo) -> Self {
        let certificate = connection.server_certificate().and_then(Result::ok);
        Self {
            tls: format!("{} by {}", connection.tls_version, connection.tls_engine),
            not_after: certificate.map(|certificate| certificate.not_after()),
        }
    }
}

async fn request(
    url: &Url,
    https: impl FnOnce() -> Result<HttpsClient>,
    limit: Duration,
) -> Result<(HeaderMap, ConnectionInfo)> {
    let mut url = url.clone();
    url.set_path("/");
    url.set_query(None);
    let request = Request::get(url.as_str()).body(RequestBody::empty());
    let request = request.map_err(|error| {
        Error::invalid_request("the URL of the token endpoint is malformed").with_source(error)
    })?;
    let response = https()?.send(request, limit).await;
    let (head, body) = response
        .map_err(|error| error.at(Stage::Token))?
        .into_parts();
    let connection = body.connection().cloned().ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidResponse,
            Stage::Token,
            "the connection has no TLS",
        )
    })?;
    Ok((head.headers, connection))
}

/// Judges the lookup of a name: the number of addresses.
pub(super) fn judge_name(name: &str, found: io::Result<usize>) -> Finding {
    let next_step = "check the DNS servers of this host, and whether its network reaches the internet or a private endpoint";
    match found {
        Ok(0) => Finding::problem(format!("{name} has no address"), next_step),
        Ok(1) => Finding::ok(format!("{name} has 1 address")),
        Ok(count) => Finding::ok(format!("{name} has {count} addresses")),
        Err(error) => Finding::problem(format!("{name} cannot be resolved: {error}"), next_step),
    }
}

/// Judges the certificate of the server, which the TLS library accepted.
pub(super) fn judge_server(server: &Server, now: SystemTime) -> Finding {
    let tls = &server.tls;
    let Some(end) = server.not_after else {
        return Finding::ok(format!("{tls}; the server's certificate is accepted"));
    };
    let left = end.duration_since(now).unwrap_or_default();
    if left >= EXPIRES_SOON {
        let left = span(left);
        return Finding::ok(format!(
            "{tls}; the server's certificate is valid for {left}"
        ));
    }
    Finding::warning(
        format!(
            "{tls}; the server's certificate expires at {}",
            rfc3339(end)
        ),
        "nothing here: the owner of the service has to renew it; if it is a proxy's, tell its owner",
    )
}

/// Judges a failed connection. A server may close connections on which no certificate is presented: TLS works then.
pub(super) fn judge_error(error: Error) -> Finding {
    if error.kind() == ErrorKind::ClientCertificateRejected {
        return Finding::ok("the server requires a certificate, which this check does not present");
    }
    let through_proxy = kind_of(&error) == Some(TransportErrorKind::Proxy);
    Finding::failed(
        match through_proxy {
            true => "the proxy does not connect to the token endpoint",
            false => "no TLS connection to the token endpoint",
        },
        error,
    )
}

fn kind_of(error: &Error) -> Option<TransportErrorKind> {
    let source = std::error::Error::source(error)?;
    let source = source.downcast_ref::<keybound::tls::TransportError>()?;
    Some(source.kind())
}

const PUBLIC_CLOUD: &str = "https://mtlsauth.microsoft.com";
/// Services renew their certificates weeks before.
const EXPIRES_SOON: Duration = Duration::from_secs(3 * 24 * 3600);
