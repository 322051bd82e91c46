use super::ConfigError;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where proxies connect to: a Unix socket, or TCP on loopback. Elsewhere TLS with the proxy's own certificate is required.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ListenConfig {
    /// The path of a Unix socket. Default: `/run/keybound/verify.sock`, if there is no `tcp`, and where there are Unix sockets.
    pub unix: Option<PathBuf>,
    /// The permissions of the Unix socket. Default: 0o660. A program that can connect to it can test tokens that it has
    /// stolen, and learn whose they are.
    pub mode: Option<u32>,
    /// An address with a port.
    pub tcp: Option<SocketAddr>,
    /// TLS with pinned client certificates, for TCP.
    pub tls: Option<TlsConfig>,
}

/// TLS with pinned client certificates. The files are read again at each reload.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TlsConfig {
    /// The certificate chain of the daemon, a PEM file.
    pub certificate: PathBuf,
    /// Its key, a PEM file.
    pub key: PathBuf,
    /// The certificates of the proxies, PEM files with one or more: no other client can send requests.
    pub clients: Vec<PathBuf>,
}

/// Where operators connect to: health, readiness, metrics and reloads.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct AdminConfig {
    /// The path of a Unix socket, with the permissions 0o660.
    pub unix: Option<PathBuf>,
    /// An address with a port. It need not be on loopback: nothing that it returns is secret, and it accepts reloads on loopback
    /// only.
    pub tcp: Option<SocketAddr>,
}

impl ListenConfig {
    /// Whether another configuration needs no other socket. The files of `tls` can be others.
    pub(crate) fn has_same_socket(&self, other: &Self) -> bool {
        (&self.unix, self.mode, self.tcp, self.tls.is_some())
            == (&other.unix, other.mode, other.tcp, other.tls.is_some())
    }

    pub(super) fn set_default(&mut self) {
        if cfg!(unix) && self.unix.is_none() && self.tcp.is_none() {
            self.unix = Some(DEFAULT_SOCKET.into());
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        is_supported("[listen]", &self.unix)?;
        if self.unix.is_some() == self.tcp.is_some() {
            return Err(ConfigError::new("[listen]: expected either unix or tcp"));
        }
        let Some(address) = self.tcp else {
            return match (&self.tls, self.mode) {
                (Some(_), _) => Err(ConfigError::new("[listen]: tls is for tcp only")),
                (None, Some(mode)) if mode > 0o777 => {
                    Err(ConfigError::new("[listen]: mode is larger than 0o777"))
                }
                (None, _) => Ok(()),
            };
        };
        if self.mode.is_some() {
            return Err(ConfigError::new("[listen]: mode is for unix only"));
        }
        match &self.tls {
            None if !address.ip().to_canonical().is_loopback() => Err(ConfigError::new(format!(
                "[listen]: {address} is not on loopback: who can connect to it can test stolen tokens. Use a Unix socket, \
                 loopback, or [listen.tls] with the certificates of the proxies"
            ))),
            Some(tls) if tls.clients.is_empty() => Err(ConfigError::new(
                "[listen.tls]: clients names no certificate",
            )),
            _ => Ok(()),
        }
    }
}

impl AdminConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        is_supported("[admin]", &self.unix)?;
        match (&self.unix, &self.tcp) {
            (None, None) => Err(ConfigError::new("[admin]: expected unix or tcp")),
            _ => Ok(()),
        }
    }
}

fn is_supported(section: &str, unix: &Option<PathBuf>) -> Result<(), ConfigError> {
    match unix {
        Some(_) if !cfg!(unix) => Err(ConfigError::new(format!(
            "{section}: unix is not supported on this platform"
        ))),
        _ => Ok(()),
    }
}

/// In the directory that systemd creates for the daemon.
const DEFAULT_SOCKET: &str = "/run/keybound/verify.sock";
