//! The connection to the token endpoint: its name, its TLS, its certificate.
use super::clock::ServiceTime;
use super::rejected_server;
use super::target::Target;
use crate::diagnosis::{Finding, Level};
use crate::report;
use crate::text::{rfc3339, span};
use http::{HeaderMap, Request};
use keybound::http::ConnectionInfo;
use keybound::tls::{TransportError, TransportErrorKind};
use keybound::{Certificate, Clock as _, Error, ErrorKind, Result, Stage, SystemClock};
use keybound_transport::{HttpsClient, RequestBody};
use std::io;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};
use url::{Host, Url};

/// How the token endpoint is reached.
pub(super) struct Connection<'a> {
    pub(super) target: &'a Target,
    /// Whether the client would use the endpoint.
    pub(super) allowed: Result<()>,
    pub(super) proxied: Result<bool>,
}

impl Connection<'_> {
    /// Looks up the name; a problem is that it has no address. `shown` is the name for the report.
    pub(super) async fn resolve(&self, shown: impl Fn(&str) -> String, limit: Duration) -> Finding {
        let url = match (self.target, &self.proxied) {
            (Target::None(why), _) => return Finding::skipped(*why),
            (_, Err(_)) => return Finding::skipped(NO_PROXY),
            (_, Ok(true)) => return Finding::skipped("the proxy looks up the token endpoint"),
            (Target::Url(url) | Target::Authority(url) | Target::Guess(url), Ok(false)) => url,
        };
        let Some(Host::Domain(name)) = url.host() else {
            return Finding::ok("the token endpoint is named by its address");
        };
        let port = url.port_or_known_default().unwrap_or(443);
        let lookup = tokio::net::lookup_host((name, port));
        let result = match tokio::time::timeout(limit, lookup).await {
            Ok(found) => found.map(|found| found.map(|address| address.ip()).collect()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        judge_name(name, &shown(name), result)
    }

    /// The judgement of a guess: a problem of it may be none of this host.
    pub(super) fn of_guess(&self, finding: Finding) -> Finding {
        match self.target {
            Target::Guess(url) => guessed(finding, url),
            _ => finding,
        }
    }

    /// Connects, unless the name has no address, and sends a request without a certificate, whose response is not an error whatever
    /// its status.
    pub(super) async fn connect(
        &self,
        dns: &Finding,
        https: impl FnOnce() -> Result<HttpsClient>,
        limit: Duration,
    ) -> (Finding, Option<ServiceTime>) {
        let url = match self.target {
            Target::None(why) => return (Finding::skipped(*why), None),
            _ if dns.level == Level::Problem => {
                return (Finding::skipped("the name has no known address"), None);
            }
            Target::Url(url) | Target::Authority(url) | Target::Guess(url) => url,
        };
        let Ok(proxied) = self.proxied else {
            return (Finding::skipped(NO_PROXY), None);
        };
        if let Err(error) = &self.allowed {
            return (self.judge_refused(error), None);
        }
        match request(url, https, limit).await {
            Ok((headers, connection)) => {
                let time = ServiceTime::of("the token endpoint", &headers);
                let server = Server::of(&connection);
                let finding = judge_server(&server, SystemClock.now());
                (self.of_guess(finding), time)
            }
            Err(error) => {
                let finding = judge_error(error, proxied, SystemClock.now());
                (self.of_guess(finding), None)
            }
        }
    }

    /// The policy refuses the endpoint. IMDS did not name a guess: its own may be on the list.
    fn judge_refused(&self, error: &Error) -> Finding {
        match self.target {
            Target::Guess(_) => Finding::skipped(
                "the endpoint of this host is not known before its first certificate, and the default one of the cloud is not on the allow-list; see --token-endpoint",
            ),
            _ => Finding::failed("the token endpoint is not allowed", error.clone()),
        }
    }
}

/// A connection to the server.
#[derive(Clone, Debug)]
pub(super) struct Server {
    /// Its TLS version and library, if known.
    pub(super) tls: Option<String>,
    /// The end of the validity of its certificate, if that can be read.
    pub(super) not_after: Option<SystemTime>,
}

impl Server {
    fn of(connection: &ConnectionInfo) -> Self {
        let certificate = connection.server_certificate().and_then(Result::ok);
        Self {
            tls: Some(format!(
                "{} by {}",
                connection.tls_version, connection.tls_engine
            )),
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

/// Judges the addresses of a name, which is `shown` in the report.
pub(super) fn judge_name(name: &str, shown: &str, found: io::Result<Vec<IpAddr>>) -> Finding {
    let next_step = "check the DNS servers of this host, and whether its network reaches the internet or a private endpoint";
    let is_local = |ip: &&IpAddr| ip.is_loopback() || ip.is_unspecified();
    let addresses = match found {
        Ok(addresses) => addresses,
        Err(error) => {
            let detail = format!("{shown} cannot be resolved: {error}");
            return Finding::problem(detail, next_step);
        }
    };
    let local = addresses.iter().find(is_local);
    let names_this_host =
        keybound_core::tls::Host::parse(name).is_some_and(|host| host.is_loopback());
    if let Some(ip) = local.filter(|_| !names_this_host) {
        return Finding::warning(
            format!("{shown} is resolved to this host ({ip})"),
            "nothing, if a program of this host forwards the connections and tls is ok; otherwise look for the name in the hosts file, and for a DNS server that blocks names",
        );
    }
    match addresses.len() {
        0 => Finding::problem(format!("{shown} has no address"), next_step),
        1 => Finding::ok(format!("{shown} has 1 address")),
        count => Finding::ok(format!("{shown} has {count} addresses")),
    }
}

/// Judges the certificate of the server, which the TLS library accepted.
pub(super) fn judge_server(server: &Server, now: SystemTime) -> Finding {
    let tls = server.tls.as_ref().map(|tls| format!("{tls}; "));
    let tls = tls.unwrap_or_default();
    let Some(end) = server.not_after else {
        return Finding::ok(format!("{tls}the server's certificate is accepted"));
    };
    let left = end.duration_since(now).unwrap_or_default();
    if left >= EXPIRES_SOON {
        let left = span(left);
        return Finding::ok(format!("{tls}the server's certificate is valid for {left}"));
    }
    Finding::warning(
        format!("{tls}the server's certificate expires at {}", rfc3339(end)),
        "nothing here: the owner of the service has to renew it; if it is a proxy's, tell its owner",
    )
}

/// A finding for an endpoint that this host may not use: a warning at most, which says so.
pub(super) fn guessed(finding: Finding, url: &Url) -> Finding {
    if finding.level < Level::Warning {
        return finding;
    }
    let origin = url.origin().ascii_serialization();
    let next_step = finding.next_step.as_deref().unwrap_or_default();
    let next_step = format!(
        "nothing, if this host uses another endpoint than {origin} (name it with --token-endpoint; keybound selftest -v shows it); otherwise {next_step}"
    );
    finding.with_next_step(next_step).into_warning()
}

/// Judges a failed connection. A server may close connections on which no certificate is presented: TLS works then.
pub(super) fn judge_error(error: Error, proxied: bool, now: SystemTime) -> Finding {
    let server = transport_error(&error).and_then(TransportError::server_certificate);
    let not_after = server.map(Certificate::not_after);
    let kind = transport_error(&error).map(TransportError::kind);
    if kind == Some(TransportErrorKind::ClientCertificateRejected) {
        let server = Server {
            tls: Some(
                "the server requires a certificate, which this check does not present".into(),
            ),
            not_after,
        };
        return judge_server(&server, now);
    }
    if kind == Some(TransportErrorKind::ServerCertificate) {
        return rejected_server::judge(error);
    }
    let detail = match kind {
        Some(TransportErrorKind::Proxy) => "the proxy does not connect to the token endpoint",
        Some(TransportErrorKind::Timeout) => "the token endpoint did not respond in time",
        _ if not_after.is_some() => "TLS works, but the token endpoint sends no valid response",
        _ => "no TLS connection to the token endpoint",
    };
    let next_step = next_step(kind, &report::chain(&error), proxied);
    let finding = Finding::failed(detail, error);
    match next_step {
        Some(next_step) => finding.with_next_step(next_step),
        None => finding,
    }
}

/// What to do, if that is more specific than the next step of the error, whose text is `reason`.
fn next_step(
    kind: Option<TransportErrorKind>,
    reason: &str,
    proxied: bool,
) -> Option<&'static str> {
    let contains = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    Some(match kind? {
        TransportErrorKind::Timeout if proxied => {
            "check that the proxy runs, and allows connections to the token endpoint"
        }
        TransportErrorKind::Timeout => {
            "a firewall, network security group or route may drop the packets: allow outbound connections to the token endpoint, or name a proxy in HTTPS_PROXY"
        }
        TransportErrorKind::Proxy if contains(&["credentials"]) => {
            "correct user and password in the URL of the proxy (HTTPS_PROXY)"
        }
        TransportErrorKind::Proxy if contains(&["rejected the tunnel"]) => {
            "ask the owner of the proxy to allow connections to the token endpoint"
        }
        _ => return None,
    })
}

pub(super) fn transport_error(error: &Error) -> Option<&TransportError> {
    std::error::Error::source(error)?.downcast_ref()
}

/// Services renew their certificates weeks before.
const EXPIRES_SOON: Duration = Duration::from_secs(3 * 24 * 3600);
const NO_PROXY: &str = "the proxy setting cannot be used";
