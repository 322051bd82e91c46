use super::ConfigError;
use crate::service::Service;
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
