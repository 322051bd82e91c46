use super::host_port::HostPort;
use super::template::Template;
use crate::{Config, ConfigError};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// How a proxy connects to a daemon with `[listen.tls]`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DaemonConnection {
    /// Where the proxy reaches the daemon. The daemon's certificate must be for this host.
    pub address: HostPort,
    /// The CA of the daemon's certificate, or that certificate if it is self-signed; a PEM file.
    pub ca: PathBuf,
    /// The certificate of the proxy, a PEM file; one of `clients`.
    pub certificate: PathBuf,
    /// Its key, a PEM file.
    pub key: PathBuf,
}

impl DaemonConnection {
    /// A connection to an address, with the certificate of the proxy and its key.
    pub fn new(
        address: HostPort,
        ca: impl Into<PathBuf>,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        Self {
            address,
            ca: ca.into(),
            certificate: certificate.into(),
            key: key.into(),
        }
    }

    /// Inserts its values.
    pub(super) fn fill(&self, template: Template) -> Template {
        template
            .value("DAEMON", &self.address.to_string())
            .value("DAEMON_HOST", self.address.host())
            .value("DAEMON_CA", &self.ca.to_string_lossy())
            .value("PROXY_CERTIFICATE", &self.certificate.to_string_lossy())
            .value("PROXY_KEY", &self.key.to_string_lossy())
    }

    /// Inserts its values for a proxy that compares names and no addresses.
    pub(super) fn fill_named(&self, template: Template) -> Result<Template, ConfigError> {
        if self.is_address() {
            return Err(ConfigError::new(format!(
                "{}: this proxy compares the daemon's certificate with the name of a host, not with an address",
                self.address
            )));
        }
        Ok(self.fill(template))
    }

    /// Whether the host is an address.
    pub(super) fn is_address(&self) -> bool {
        self.address.host().parse::<IpAddr>().is_ok()
    }
}

/// Where a proxy reaches the daemon.
pub(super) enum Server<'a> {
    Unix(String),
    Tcp(SocketAddr),
    Tls(&'a DaemonConnection),
}

impl<'a> Server<'a> {
    pub(super) fn new(
        config: &Config,
        tls: Option<&'a DaemonConnection>,
    ) -> Result<Self, ConfigError> {
        let listen = &config.listen;
        match (&listen.unix, listen.tcp, &listen.tls, tls) {
            (_, _, Some(_), Some(connection)) => Ok(Self::Tls(connection)),
            (_, _, Some(_), None) => Err(ConfigError::new(
                "[listen.tls]: the proxy needs the address of the daemon, its CA, and a certificate with its key",
            )),
            (_, _, None, Some(_)) => Err(ConfigError::new(
                "the daemon has no [listen.tls]: the proxy connects to it without a certificate",
            )),
            (Some(path), ..) => Ok(Self::Unix(path.display().to_string())),
            (_, Some(address), ..) => Ok(Self::Tcp(address)),
            (None, None, ..) => Err(ConfigError::new("[listen]: expected either unix or tcp")),
        }
    }
}
