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
    /// The host in the URLs of the services. Default: the address.
    pub host: HostName,
    /// Port of IMDS. For this and the other ports, 0 is a free port, and the default.
    pub imds_port: u16,
    /// Port of Entra's token service.
    pub sts_port: u16,
    /// Port of the attestation service.
    pub maa_port: u16,
    /// Port of the simulated Key Vault.
    pub vault_port: u16,
    /// Port of the simulated Graph.
    pub graph_port: u16,
    /// Port of App Service's and Container Apps' identity endpoint.
    pub app_service_port: u16,
    /// Port of Service Fabric's identity endpoint.
    pub service_fabric_port: u16,
    /// Port of Azure Arc's identity endpoint.
    pub arc_port: u16,
    /// Port of Machine Learning's identity endpoint.
    pub machine_learning_port: u16,
    /// Port of Cloud Shell's identity endpoint.
    pub cloud_shell_port: u16,
    /// Port of the control endpoint.
    pub control_port: u16,
}

impl NetworkConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if !self.bind.is_loopback() {
            return Err(ConfigError::new(format!(
                "network.bind: {} is not a loopback address",
                self.bind
            )));
        }
        // RFC 6761 section 6.3.
        let localhost_addresses = [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ];
        if self.host == HostName::Localhost && !localhost_addresses.contains(&self.bind) {
            return Err(ConfigError::new(format!(
                "network.host: localhost requires network.bind 127.0.0.1 or ::1, not {}",
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
            Service::AppService => self.app_service_port,
            Service::ServiceFabric => self.service_fabric_port,
            Service::Arc => self.arc_port,
            Service::MachineLearning => self.machine_learning_port,
            Service::CloudShell => self.cloud_shell_port,
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
            app_service_port: 0,
            service_fabric_port: 0,
            arc_port: 0,
            machine_learning_port: 0,
            cloud_shell_port: 0,
            control_port: 0,
        }
    }
}

/// The host in the URLs of the services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum HostName {
    /// The address on which they listen.
    Address,
    /// `localhost` for services with TLS; the address for those with plain HTTP, since a client may resolve the name to an
    /// address on which another program listens.
    Localhost,
}
