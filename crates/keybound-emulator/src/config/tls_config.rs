use crate::service::Service;
use serde::Deserialize;

/// TLS versions of the services.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct TlsConfig {
    /// TLS versions of Entra's token service. Default: 1.2 and 1.3.
    pub sts: TlsVersionRange,
    /// TLS versions of the attestation service. Default: 1.2 and 1.3.
    pub maa: TlsVersionRange,
    /// TLS versions of the simulated Key Vault. Default: 1.2 only, since the real Key Vault requests certificates only with 1.2.
    pub vault: TlsVersionRange,
    /// TLS versions of the simulated Graph. Default: 1.2 and 1.3.
    pub graph: TlsVersionRange,
    /// TLS versions of Service Fabric's identity endpoint. Default: 1.2 and 1.3.
    pub service_fabric: TlsVersionRange,
}

impl TlsConfig {
    /// The versions of a service; `None` for plain HTTP.
    pub(crate) fn versions(&self, service: Service) -> Option<TlsVersionRange> {
        match service {
            Service::Imds
            | Service::AppService
            | Service::Arc
            | Service::MachineLearning
            | Service::CloudShell
            | Service::Control => None,
            Service::Sts => Some(self.sts),
            Service::Maa => Some(self.maa),
            Service::Vault => Some(self.vault),
            Service::Graph => Some(self.graph),
            Service::ServiceFabric => Some(self.service_fabric),
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
            service_fabric: TlsVersionRange::Tls12To13,
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
