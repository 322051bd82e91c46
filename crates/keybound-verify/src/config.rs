//! The configuration file.
mod api;
mod error;
mod listen;
mod place;
mod syntax;
mod texts;

pub(crate) use api::issuer_names;
pub use api::{ApiConfig, CloudName, IssuerConfig, TenantsConfig};
pub use error::ConfigError;
pub use listen::{AdminConfig, ListenConfig, TlsConfig};

use crate::Engine;
use keybound_resource::{MIN_CACHE_BYTES, regular_file};
use serde::Deserialize;
use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

/// The configuration of the daemon, a TOML file. Unknown keys are errors.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Where proxies connect to. Default: a Unix socket.
    #[serde(default)]
    pub listen: ListenConfig,
    /// The proxy in front.
    pub proxy: ProxyConfig,
    /// Where operators connect to.
    #[serde(default)]
    pub admin: Option<AdminConfig>,
    /// Where the issuers' keys are from.
    #[serde(default)]
    pub keys: KeysConfig,
    /// What is logged.
    #[serde(default)]
    pub log: LogConfig,
    /// Limits.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// The APIs, each with the policy of its hosts.
    #[serde(default, rename = "api")]
    pub apis: Vec<ApiConfig>,
}

/// The proxy in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ProxyConfig {
    /// Which one: it decides how requests, and client certificates in them, are read. There is exactly one way.
    pub engine: Engine,
}

/// Where the issuers' keys are from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct KeysConfig {
    /// A key file of `keybound verify keys`, which is read again every minute. Default: the keys that the issuers publish.
    pub file: Option<PathBuf>,
    /// How old keys may become since they were fetched from the issuer, in seconds. Default: 24 hours.
    pub max_age: Option<u64>,
    /// CA certificates in PEM, besides those of the system, for the issuers' servers.
    pub ca_file: Option<PathBuf>,
}

/// What is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct LogConfig {
    /// Which decisions. Default: those that deny a request.
    pub decisions: LoggedDecisions,
}

/// Which decisions are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LoggedDecisions {
    /// All.
    All,
    /// Those that deny a request.
    #[default]
    Denied,
    /// None.
    None,
}

/// Limits. Those of headers and messages are fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct LimitsConfig {
    /// Concurrent connections of proxies; further ones wait. Default: 1024.
    pub connections: usize,
    /// The memory for cached tokens, in MiB, of which each API has an equal part, at least 32 KiB; 0: none are cached. Default: 64.
    pub cache_mib: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            connections: 1024,
            cache_mib: 64,
        }
    }
}

impl Config {
    /// Reads a file. It is a regular one of at most 1 MiB.
    ///
    /// # Errors
    /// If it cannot be read, is malformed, or two settings contradict each other.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |error| ConfigError::unreadable(path, &error);
        let content = regular_file::read(path, MAX_FILE).map_err(unreadable)?;
        let text = String::from_utf8(content)
            .map_err(|_| unreadable(io::Error::other("it is not UTF-8")))?;
        Self::from_toml(&text).map_err(|error| error.in_file(path))
    }

    /// Parses and checks a configuration.
    ///
    /// # Errors
    /// If it is malformed, or two settings contradict each other.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let mut config: Self =
            toml::from_str(text).map_err(|error| ConfigError::syntax(text, &error))?;
        config.listen.set_default();
        config.check().map_err(|error| error.in_text(text))?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.listen.check()?;
        if let Some(admin) = &self.admin {
            admin.check()?;
        }
        if self.keys.file.is_some() && self.keys.ca_file.is_some() {
            return Err(ConfigError::at(
                "keys.ca_file",
                "[keys]: ca_file has no effect beside file: remove one of them",
            ));
        }
        if let Some(age) = self.keys.max_age
            && !(MIN_KEY_AGE..=MAX_KEY_AGE).contains(&age)
        {
            let problem = "is not between 3600 and 604800, in seconds";
            return Err(ConfigError::at(
                "keys.max_age",
                format!("[keys]: max_age = {age} {problem}"),
            ));
        }
        self.check_limits()?;
        if self.apis.is_empty() {
            return Err(ConfigError::new("there is no [[api]]: add one"));
        }
        self.check_cache()?;
        let mut hosts = HashSet::new();
        for (index, api) in self.apis.iter().enumerate() {
            api.check(index)?;
            for (position, host) in api.hosts.iter().enumerate() {
                if !hosts.insert(host) {
                    let place = format!("api.{index}.hosts.{position}");
                    let problem = format!("the host {host} occurs twice: one API decides for it");
                    return Err(ConfigError::at(&place, problem));
                }
            }
        }
        Ok(())
    }

    fn check_limits(&self) -> Result<(), ConfigError> {
        let LimitsConfig {
            connections,
            cache_mib,
        } = self.limits;
        if !(1..=MAX_CONNECTIONS).contains(&connections) {
            let problem =
                format!("[limits]: connections = {connections} is not between 1 and 65536");
            return Err(ConfigError::at("limits.connections", problem));
        }
        if cache_mib > MAX_CACHE_MIB {
            let problem = format!("[limits]: cache_mib = {cache_mib} is larger than 65536");
            return Err(ConfigError::at("limits.cache_mib", problem));
        }
        Ok(())
    }

    /// The memory for the cached tokens of each API, in bytes.
    pub(crate) fn cache_bytes(&self) -> usize {
        (self.limits.cache_mib << 20) / self.apis.len().max(1)
    }

    /// A part in which no token is cached is not what was asked for, except with 0.
    fn check_cache(&self) -> Result<(), ConfigError> {
        let LimitsConfig { cache_mib, .. } = self.limits;
        if cache_mib == 0 || self.cache_bytes() >= MIN_CACHE_BYTES {
            return Ok(());
        }
        let apis = self.apis.len();
        let enough = (apis * MIN_CACHE_BYTES).div_ceil(1 << 20);
        Err(ConfigError::at(
            "limits.cache_mib",
            format!(
                "[limits]: cache_mib = {cache_mib} is too small for {apis} APIs, each of which would cache no token: raise it to at least \
             {enough}, or set it to 0"
            ),
        ))
    }
}

/// In seconds: keys are fetched every hour.
const MIN_KEY_AGE: u64 = 3600;
/// In seconds: a week.
const MAX_KEY_AGE: u64 = 7 * 24 * 3600;
/// In bytes.
const MAX_FILE: usize = 1024 * 1024;
const MAX_CONNECTIONS: usize = 65_536;
const MAX_CACHE_MIB: usize = 65_536;
