use super::ConfigError;
use crate::service::Service;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IMDS: the ids of the host and how requests are checked.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ImdsConfig {
    /// The id of the virtual machine. Empty: not part of the metadata.
    pub vm_id: String,
    /// The id of the scale set. Empty: an empty member, as on some hosts; a request that repeats it is rejected.
    /// Absent: not part of the metadata.
    pub vmss_id: Option<String>,
    /// Whether a certificate needs an attested key.
    pub attestation: AttestationRule,
    /// Also accepts the signing requests of the Python implementation: CN first, as UTF8String, hash identifiers with NULL parameters.
    pub lenient_csr: bool,
    /// Lifetime of the certificates, in seconds: 1 minute to 1 year. Default: 7 days.
    pub certificate_lifetime_seconds: u32,
    /// From the issue of a certificate to its `token_not_after`, in seconds: at least 1 minute, shorter than
    /// `certificate_lifetime_seconds`. After it Entra responds with AADSTS1000901. Absent, the default: certificates have no such
    /// extension and are valid for tokens until they expire.
    pub token_not_after_seconds: Option<u32>,
    /// How `token_not_after` is encoded. Default: a GeneralizedTime in a SEQUENCE.
    pub token_not_after_encoding: TokenNotAfterEncoding,
    /// The handling of `bypass_cache=true`.
    pub bypass_cache: BypassCache,
    /// The member of the response, if any, that holds the URL of the token endpoint.
    pub token_url: TokenUrlMember,
}

impl ImdsConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let ids = [Some(&self.vm_id), self.vmss_id.as_ref()];
        if ids.iter().flatten().all(|id| id.is_empty()) {
            return Err(ConfigError::new("imds: vm_id or vmss_id is needed"));
        }
        for id in ids.iter().flatten() {
            if id.len() > 128 || id.contains(char::is_control) {
                return Err(ConfigError::new(
                    "imds: vm_id and vmss_id have at most 128 characters, none of control",
                ));
            }
        }
        let life = self.certificate_lifetime_seconds;
        lifetime("imds.certificate_lifetime_seconds", life, YEAR)?;
        match self.token_not_after_seconds {
            Some(seconds) => lifetime("imds.token_not_after_seconds", seconds, life - 1),
            None => Ok(()),
        }
    }
}

impl Default for ImdsConfig {
    fn default() -> Self {
        Self {
            vm_id: "5a5a5a5a-0000-4000-8000-0000000000e1".into(),
            vmss_id: None,
            attestation: AttestationRule::Required,
            lenient_csr: false,
            certificate_lifetime_seconds: 7 * DAY,
            token_not_after_seconds: None,
            token_not_after_encoding: TokenNotAfterEncoding::GeneralizedTimeInSequence,
            bypass_cache: BypassCache::Supported,
            token_url: TokenUrlMember::None,
        }
    }
}

/// Whether a certificate needs an attested key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum AttestationRule {
    /// A request without an attestation token is rejected.
    Required,
    /// A request without one is accepted; an invalid one is rejected nevertheless.
    Optional,
}

/// How the extension `token_not_after` is encoded (DER).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TokenNotAfterEncoding {
    /// A GeneralizedTime.
    GeneralizedTime,
    /// A GeneralizedTime in a SEQUENCE.
    GeneralizedTimeInSequence,
    /// A UTCTime; from 2050 on a GeneralizedTime.
    UtcTime,
    /// A UTCTime in a SEQUENCE; from 2050 on a GeneralizedTime.
    UtcTimeInSequence,
}

/// The handling of `bypass_cache=true`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum BypassCache {
    /// A new certificate is issued.
    Supported,
    /// 400, as for every unknown parameter.
    Refused,
    /// The parameter is ignored.
    Ignored,
}

/// The member of IMDS's response that holds the URL of the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TokenUrlMember {
    /// None: clients build the URL from origin and tenant.
    None,
    /// `token_endpoint`.
    TokenEndpoint,
    /// `regional_token_url`.
    RegionalTokenUrl,
}

/// The virtual machine in instance metadata.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ComputeConfig {
    /// The operating system. Default: Windows.
    pub os_type: OsType,
    /// The security type, such as `TrustedLaunch` (the default) or `ConfidentialVM`. Empty: not part of the metadata.
    pub security_type: String,
    /// Whether secure boot is on. Default: true.
    pub secure_boot_enabled: bool,
    /// Whether there is a virtual TPM. Default: true.
    pub virtual_tpm_enabled: bool,
}

impl ComputeConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric();
        if self.security_type.len() > 64 || !self.security_type.bytes().all(plain) {
            return Err(ConfigError::new(
                "compute.security_type: at most 64 letters and digits, as in TrustedLaunch",
            ));
        }
        Ok(())
    }
}

impl Default for ComputeConfig {
    fn default() -> Self {
        Self {
            os_type: OsType::Windows,
            security_type: "TrustedLaunch".into(),
            secure_boot_enabled: true,
            virtual_tpm_enabled: true,
        }
    }
}

/// An operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub enum OsType {
    /// `Windows`
    Windows,
    /// `Linux`
    Linux,
}

impl OsType {
    /// The word in the metadata.
    pub(crate) fn wire_name(self) -> &'static str {
        match self {
            Self::Windows => "Windows",
            Self::Linux => "Linux",
        }
    }
}

/// Entra's token endpoint.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct EntraConfig {
    /// Lifetime of the tokens, in seconds: 1 minute to 1 year. Default: 86399.
    pub token_lifetime_seconds: u32,
    /// `refresh_in` of the responses, in seconds: shorter than the lifetime. Absent, the default: not part of the responses.
    pub refresh_in_seconds: Option<u32>,
    /// Resources that do not accept bound tokens: AADSTS392196. Default: `https://management.azure.com`.
    pub unbound_resources: Vec<String>,
    /// Whether the tenant may request bound tokens; otherwise Entra responds with AADSTS3921996. Default: true.
    pub bound_tokens_allowed: bool,
}

impl EntraConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let life = self.token_lifetime_seconds;
        if self.refresh_in_seconds.is_some_and(|ahead| ahead >= life) {
            return Err(ConfigError::new(
                "entra.refresh_in_seconds: it is not shorter than token_lifetime_seconds",
            ));
        }
        lifetime("entra.token_lifetime_seconds", life, YEAR)
    }
}

impl Default for EntraConfig {
    fn default() -> Self {
        Self {
            token_lifetime_seconds: DAY - 1,
            refresh_in_seconds: None,
            unbound_resources: vec!["https://management.azure.com".into()],
            bound_tokens_allowed: true,
        }
    }
}

/// The simulated Key Vault.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct VaultConfig {
    /// The secrets, by name: 1 to 127 letters, digits and dashes. Default: `demo-secret`.
    pub secrets: BTreeMap<String, String>,
}

impl VaultConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let mut names: Vec<_> = self
            .secrets
            .keys()
            .map(|name| name.to_ascii_lowercase())
            .collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(ConfigError::new(
                "vault.secrets: two names differ in case only, which does not count",
            ));
        }
        for (name, value) in &self.secrets {
            let plain = name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            if name.is_empty() || name.len() > 127 || !plain {
                return Err(ConfigError::new(format!(
                    "vault.secrets.{}: a name has 1 to 127 letters, digits and dashes",
                    name.escape_default()
                )));
            }
            if value.len() > 25 * 1024 {
                return Err(ConfigError::new(format!(
                    "vault.secrets.{name}: at most 25 KiB"
                )));
            }
        }
        Ok(())
    }
}

impl Default for VaultConfig {
    fn default() -> Self {
        let secret = (
            "demo-secret".into(),
            "only the holder of the key reads this".into(),
        );
        Self {
            secrets: BTreeMap::from([secret]),
        }
    }
}

/// The simulated Graph.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct GraphConfig {
    /// Whether the identity lacks the permission: every call with a valid bound token gets a 403.
    pub forbidden: bool,
}

/// Address and ports.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct NetworkConfig {
    /// The loopback address to listen on. Any other address is an error. Default: `127.0.0.1`.
    pub bind: IpAddr,
    /// The host of the services in URLs. Default: by address.
    pub host: HostName,
    /// Port of IMDS. This and the others: 0, the default, takes a free one.
    pub imds_port: u16,
    /// Port of Entra's token service.
    pub sts_port: u16,
    /// Port of the attestation service.
    pub maa_port: u16,
    /// Port of the simulated Key Vault.
    pub vault_port: u16,
    /// Port of the simulated Graph.
    pub graph_port: u16,
    /// Port of the control endpoint.
    pub control_port: u16,
}

impl NetworkConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if !self.bind.is_loopback() {
            return Err(ConfigError::new(format!(
                "network.bind: {} is not a loopback address, and the emulator listens at no other",
                self.bind
            )));
        }
        // As names go everywhere: RFC 6761 section 6.3.
        let of_localhost = [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ];
        if self.host == HostName::Localhost && !of_localhost.contains(&self.bind) {
            return Err(ConfigError::new(format!(
                "network.host: localhost is 127.0.0.1 or ::1, and nothing would listen there with network.bind {}",
                self.bind
            )));
        }
        let mut ports = Service::ALL.map(|service| self.port(service)).to_vec();
        ports.retain(|port| *port != 0);
        ports.sort_unstable();
        if ports.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(ConfigError::new("network: two services share a port"));
        }
        Ok(())
    }

    /// The port of a service.
    pub(crate) fn port(&self, service: Service) -> u16 {
        match service {
            Service::Imds => self.imds_port,
            Service::Sts => self.sts_port,
            Service::Maa => self.maa_port,
            Service::Vault => self.vault_port,
            Service::Graph => self.graph_port,
            Service::Control => self.control_port,
        }
    }
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            host: HostName::Address,
            imds_port: 0,
            sts_port: 0,
            maa_port: 0,
            vault_port: 0,
            graph_port: 0,
            control_port: 0,
        }
    }
}

/// The host of the services in URLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum HostName {
    /// By the address they listen at.
    Address,
    /// Those that speak TLS by `localhost`; IMDS and the control endpoint by address, since a client may resolve the name to an
    /// address at which another program listens.
    Localhost,
}

/// TLS versions of the services.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct TlsConfig {
    /// Of Entra's token service. Default: 1.2 and 1.3.
    pub sts: TlsVersionRange,
    /// Of the attestation service. Default: 1.2 and 1.3.
    pub maa: TlsVersionRange,
    /// Of the simulated Key Vault. Default: 1.2 only, since the real one requests certificates with 1.2 only.
    pub vault: TlsVersionRange,
    /// Of the simulated Graph. Default: 1.2 and 1.3.
    pub graph: TlsVersionRange,
}

impl TlsConfig {
    /// The versions of a service; `None` for plain HTTP.
    pub(crate) fn versions(&self, service: Service) -> Option<TlsVersionRange> {
        match service {
            Service::Imds | Service::Control => None,
            Service::Sts => Some(self.sts),
            Service::Maa => Some(self.maa),
            Service::Vault => Some(self.vault),
            Service::Graph => Some(self.graph),
        }
    }
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            sts: TlsVersionRange::Tls12To13,
            maa: TlsVersionRange::Tls12To13,
            vault: TlsVersionRange::Tls12,
            graph: TlsVersionRange::Tls12To13,
        }
    }
}

/// TLS versions that a service accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub enum TlsVersionRange {
    /// `1.2`
    #[serde(rename = "1.2")]
    Tls12,
    /// `1.3`
    #[serde(rename = "1.3")]
    Tls13,
    /// `1.2-1.3`
    #[serde(rename = "1.2-1.3")]
    Tls12To13,
}

fn lifetime(key: &str, seconds: u32, longest: u32) -> Result<(), ConfigError> {
    if (60..=longest).contains(&seconds) {
        return Ok(());
    }
    Err(ConfigError::new(format!(
        "{key}: {seconds} is not between 60 and {longest}"
    )))
}

const DAY: u32 = 24 * 3600;
const YEAR: u32 = 365 * DAY;
