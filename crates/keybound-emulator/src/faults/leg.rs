use super::FaultError;
use crate::service::Service;
use bytes::Bytes;
use http::Request;
use http::header::AUTHORIZATION;
use std::fmt;
use std::str::FromStr;

/// A step of the flow, as named in faults, counts and records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leg {
    /// `getplatformmetadata` without the `Metadata` header: the probe for v2.
    Probe,
    /// `getplatformmetadata`.
    Metadata,
    /// `issuecredential`.
    Issue,
    /// Instance metadata.
    Instance,
    /// A bearer token from IMDS v1.
    ImdsToken,
    /// A token from App Service or Container Apps.
    AppService,
    /// A token from Service Fabric.
    ServiceFabric,
    /// A request to Azure Arc without the content of a key file, which gets a challenge.
    ArcChallenge,
    /// A token from Azure Arc.
    Arc,
    /// A token from Machine Learning.
    MachineLearning,
    /// A token from Cloud Shell.
    CloudShell,
    /// The attestation of a key.
    Attest,
    /// Entra's token endpoint.
    Token,
    /// Discovery documents, of Entra and of the attestation service.
    Discovery,
    /// Key sets, of Entra and of the attestation service.
    Keys,
    /// The simulated Key Vault.
    Vault,
    /// The simulated Graph.
    Graph,
    /// The TLS handshake of a new connection to the attestation service.
    AttestTls,
    /// The TLS handshake of a new connection to Entra.
    TokenTls,
    /// The TLS handshake of a new connection to the simulated Key Vault.
    VaultTls,
    /// The TLS handshake of a new connection to the simulated Graph.
    GraphTls,
    /// The TLS handshake of a new connection to Service Fabric.
    ServiceFabricTls,
    /// Unknown paths.
    Unknown,
}

impl Leg {
    /// The legs that faults can be set on.
    pub const ALL: [Self; 22] = [
        Self::Probe,
        Self::Metadata,
        Self::Issue,
        Self::Instance,
        Self::ImdsToken,
        Self::AppService,
        Self::ServiceFabric,
        Self::ArcChallenge,
        Self::Arc,
        Self::MachineLearning,
        Self::CloudShell,
        Self::Attest,
        Self::Token,
        Self::Discovery,
        Self::Keys,
        Self::Vault,
        Self::Graph,
        Self::AttestTls,
        Self::TokenTls,
        Self::VaultTls,
        Self::GraphTls,
        Self::ServiceFabricTls,
    ];

    /// The leg that a request belongs to.
    pub fn of(service: Service, request: &Request<Bytes>) -> Self {
        let path = request.uri().path();
        match service {
            Service::Imds => match path {
                METADATA_PATH if request.headers().contains_key("metadata") => Self::Metadata,
                METADATA_PATH => Self::Probe,
                ISSUE_PATH => Self::Issue,
                _ if without_slash(path) == IMDS_TOKEN_PATH => Self::ImdsToken,
                VERSIONS_PATH => Self::Instance,
                _ if path.starts_with(INSTANCE_PATH) => Self::Instance,
                _ => Self::Unknown,
            },
            Service::Maa => match path {
                ATTEST_PATH => Self::Attest,
                "/certs" => Self::Keys,
                "/.well-known/openid-configuration" => Self::Discovery,
                _ => Self::Unknown,
            },
            Service::Sts if path.ends_with("/oauth2/v2.0/token") => Self::Token,
            Service::Sts if path.contains("/.well-known/") => Self::Discovery,
            Service::Sts if path.contains("/discovery/") => Self::Keys,
            Service::Vault => Self::Vault,
            Service::Graph => Self::Graph,
            Service::AppService => Self::AppService,
            Service::ServiceFabric => Self::ServiceFabric,
            Service::Arc if request.headers().contains_key(AUTHORIZATION) => Self::Arc,
            Service::Arc => Self::ArcChallenge,
            Service::MachineLearning => Self::MachineLearning,
            Service::CloudShell => Self::CloudShell,
            Service::Sts | Service::Control => Self::Unknown,
        }
    }

    /// The leg of a service's TLS handshakes.
    pub fn handshake(service: Service) -> Self {
        match service {
            Service::Maa => Self::AttestTls,
            Service::Sts => Self::TokenTls,
            Service::Vault => Self::VaultTls,
            Service::Graph => Self::GraphTls,
            Service::ServiceFabric => Self::ServiceFabricTls,
            Service::Imds
            | Service::AppService
            | Service::Arc
            | Service::MachineLearning
            | Service::CloudShell
            | Service::Control => Self::Unknown,
        }
    }

    pub fn is_handshake(self) -> bool {
        matches!(
            self,
            Self::AttestTls
                | Self::TokenTls
                | Self::VaultTls
                | Self::GraphTls
                | Self::ServiceFabricTls
        )
    }

    /// The name in faults, counts and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Metadata => "metadata",
            Self::Issue => "issue",
            Self::Instance => "instance",
            Self::ImdsToken => "imds-token",
            Self::AppService => "app-service",
            Self::ServiceFabric => "service-fabric",
            Self::ArcChallenge => "arc-challenge",
            Self::Arc => "arc",
            Self::MachineLearning => "machine-learning",
            Self::CloudShell => "cloud-shell",
            Self::Attest => "attest",
            Self::Token => "token",
            Self::Discovery => "discovery",
            Self::Keys => "keys",
            Self::Vault => "vault",
            Self::Graph => "graph",
            Self::AttestTls => "attest-tls",
            Self::TokenTls => "token-tls",
            Self::VaultTls => "vault-tls",
            Self::GraphTls => "graph-tls",
            Self::ServiceFabricTls => "service-fabric-tls",
            Self::Unknown => "unknown",
        }
    }
}

impl FromStr for Leg {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        Self::ALL
            .into_iter()
            .find(|leg| leg.as_str() == text)
            .ok_or_else(|| {
                FaultError::new(format!(
                    "no such leg: {}; known: {}",
                    text.escape_default(),
                    Self::ALL.map(Self::as_str).join(", ")
                ))
            })
    }
}

impl fmt::Display for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A path without a slash at its end, with which some client libraries call endpoints.
pub(crate) fn without_slash(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

pub(crate) const METADATA_PATH: &str = "/metadata/identity/getplatformmetadata";
pub(crate) const ISSUE_PATH: &str = "/metadata/identity/issuecredential";
pub(crate) const IMDS_TOKEN_PATH: &str = "/metadata/identity/oauth2/token";
const INSTANCE_PATH: &str = "/metadata/instance";
pub(crate) const VERSIONS_PATH: &str = "/metadata/versions";
pub(crate) const ATTEST_PATH: &str = "/attest/keyguard";
