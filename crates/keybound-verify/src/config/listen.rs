use super::ConfigError;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Where proxies connect to: a Unix socket, or TCP on loopback. Elsewhere TLS with the proxy's own certificate is required.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ListenConfig {
    /// The absolute path of a Unix socket. Default: `/run/keybound/verify.sock`, if there is no `tcp`, and where there are Unix sockets.
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
    /// The absolute path of a Unix socket, with the permissions 0o660.
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
        check_socket("listen", self.unix.as_deref())?;
        if self.unix.is_some() == self.tcp.is_some() {
            let problem = "[listen]: expected either unix or tcp";
            return Err(ConfigError::at("listen.unix", problem));
        }
        let Some(address) = self.tcp else {
            return self.check_unix();
        };
        if self.mode.is_some() {
            let problem = "[listen]: mode is for unix only: remove it beside tcp";
            return Err(ConfigError::at("listen.mode", problem));
        }
        match &self.tls {
            None if !address.ip().to_canonical().is_loopback() => Err(ConfigError::at(
                "listen.tcp",
                format!(
                    "[listen]: {address} is not on loopback: who can connect to it can test stolen tokens. Use a Unix socket, \
                     loopback, or [listen.tls] with the certificates of the proxies"
                ),
            )),
            Some(tls) if tls.clients.is_empty() => Err(ConfigError::at(
                "listen.tls.clients",
                "[listen.tls]: clients names no certificate, and no proxy could connect",
            )),
            _ => Ok(()),
        }
    }

    fn check_unix(&self) -> Result<(), ConfigError> {
        if self.tls.is_some() {
            let problem = "[listen]: tls is for tcp only";
            return Err(ConfigError::at("listen.tls", problem));
        }
        let wrong = |problem: &str| Err(ConfigError::at("listen.mode", problem));
        match self.mode {
            Some(mode) if mode > 0o777 => wrong("[listen]: mode is larger than 0o777"),
            // Who connects needs the permission to write.
            Some(mode) if mode & 0o222 == 0 => wrong(&format!(
                "[listen]: mode = 0o{mode:03o} lets no account connect: the default is 0o660"
            )),
            _ => Ok(()),
        }
    }
}

impl AdminConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        check_socket("admin", self.unix.as_deref())?;
        match (&self.unix, &self.tcp) {
            (None, None) => Err(ConfigError::at("admin", "[admin]: expected unix or tcp")),
            _ => Ok(()),
        }
    }
}

/// The daemon and the proxy read the same path, from different working directories.
fn check_socket(section: &str, unix: Option<&Path>) -> Result<(), ConfigError> {
    let Some(path) = unix else {
        return Ok(());
    };
    let problem = match (cfg!(unix), path.is_absolute()) {
        (false, _) => "unix is not supported on this platform: use tcp".to_owned(),
        (true, false) => {
            format!("unix = {path:?} is not an absolute path, such as {DEFAULT_SOCKET}")
        }
        (true, true) => return Ok(()),
    };
    let place = format!("{section}.unix");
    Err(ConfigError::at(&place, format!("[{section}]: {problem}")))
}

/// In the directory that systemd creates for the daemon.
const DEFAULT_SOCKET: &str = "/run/keybound/verify.sock";
