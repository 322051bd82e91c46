//! Configurations of proxies with which they ask the daemon soundly.
mod apache;
mod caddy;
mod connection;
mod envoy;
mod forged_headers;
mod haproxy;
mod host_port;
mod nginx;
mod template;
mod traefik;

pub use connection::DaemonConnection;
pub use forged_headers::{ADDRESS_HEADERS, CERTIFICATE_HEADERS};
pub use host_port::{HostPort, HostPortError};

use crate::check::IDENTITY_HEADERS;
use crate::{ApiConfig, Config, ConfigError, Engine, host};
use connection::Server;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use template::Template;

/// What a proxy needs besides the configuration of the daemon.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FrontEnd {
    /// The address on which the proxy accepts clients.
    pub listen: SocketAddr,
    /// The certificate chain of the API, a PEM file.
    pub certificate: PathBuf,
    /// Its key, a PEM file.
    pub key: PathBuf,
    /// Where the API listens.
    pub upstream: HostPort,
    /// Where the [script](proxy_script) of Apache or HAProxy is.
    pub script: PathBuf,
    /// How the proxy connects to the daemon, if it has `[listen.tls]`.
    pub daemon: Option<DaemonConnection>,
}

impl FrontEnd {
    /// A proxy on port 443 of all addresses.
    pub fn new(certificate: &Path, key: &Path, upstream: HostPort) -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 443)),
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            upstream,
            script: PathBuf::from("/etc/keybound/verify.lua"),
            daemon: None,
        }
    }
}

/// The configuration of the proxy that the daemon's configuration names.
///
/// # Errors
/// If a value has characters that such a configuration cannot have, or the proxy cannot connect to the daemon.
pub fn proxy_config(config: &Config, front: &FrontEnd) -> Result<String, ConfigError> {
    let server = Server::new(config, front.daemon.as_ref())?;
    if !matches!(
        config.proxy.engine,
        Engine::Envoy | Engine::EnvoyHttp | Engine::Haproxy
    ) {
        reject_addresses(config)?;
    }
    let text = match config.proxy.engine {
        Engine::Envoy | Engine::EnvoyHttp => envoy::envoy(config, front, &server),
        Engine::Nginx => nginx::nginx(config, front, &server)?,
        Engine::Apache => {
            // It names the daemon.
            apache::apache_script(&server)?;
            apache::apache(config, front)
        }
        Engine::Haproxy => haproxy::haproxy(config, front, &server)?,
        Engine::Traefik => traefik::traefik(config, front, &server)?,
        Engine::Caddy => caddy::caddy(config, front, &server)?,
    };
    text.finish()
}

/// The script of Apache or HAProxy by which it asks the daemon.
///
/// # Errors
/// If the proxy needs none, or as [`proxy_config`].
pub fn proxy_script(config: &Config, front: &FrontEnd) -> Result<String, ConfigError> {
    match config.proxy.engine {
        Engine::Haproxy => haproxy::haproxy_script(),
        Engine::Apache => apache::apache_script(&Server::new(config, front.daemon.as_ref())?)?,
        other => return Err(ConfigError::new(format!("{other} needs no script"))),
    }
    .finish()
}

/// Rejects hosts that are addresses, for a proxy that chooses the policy by the name in the TLS handshake.
fn reject_addresses(config: &Config) -> Result<(), ConfigError> {
    let mut hosts = config.apis.iter().flat_map(|api| &api.hosts);
    match hosts.find(|host| host::is_address(host)) {
        None => Ok(()),
        Some(host) => Err(ConfigError::new(format!(
            "hosts: {host} is an address, for which clients send no name in the TLS handshake, by which {} chooses the policy: \
             use a name, or the proxy envoy or haproxy",
            config.proxy.engine
        ))),
    }
}

/// A line for each identity header, from its name and that of a variable for its value.
fn identity_lines(line: impl Fn(&str, &str) -> String) -> String {
    let variable = |header: &str| header.trim_start_matches("x-").replace('-', "_");
    let lines = IDENTITY_HEADERS.iter();
    lines
        .map(|header| line(header, &variable(header)))
        .collect()
}

/// A script of Lua with the list of the identity headers.
fn lua(script: &str) -> Template {
    let names = format!("\"{}\"", IDENTITY_HEADERS.join("\", \""));
    Template::new(script)
        .part("IDENTITY", Template::new(&names))
        .part("FORGED", Template::new(&forged_headers::lua_patterns()))
}

/// The hosts of an API.
fn names(api: &ApiConfig, separator: &str) -> Template {
    names_of(&api.hosts, separator)
}

fn names_of(hosts: &[String], separator: &str) -> Template {
    let quote = if separator.contains(',') { "\"" } else { "" };
    let names = hosts.iter().enumerate().map(|(index, host)| {
        let before = if index == 0 { "" } else { separator };
        Template::new(&format!("{before}{quote}@HOST@{quote}")).value("HOST", host)
    });
    Template::concat(names)
}
