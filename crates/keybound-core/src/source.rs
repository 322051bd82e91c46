//! The sources of plain bearer tokens (managed identity v1): which one the host has, the request of each, and its response.
mod arc_challenge;
mod endpoint;
mod error_kind;
mod expiry;
mod identity_echo;
mod reason;
mod request;
mod token;
mod variables;

pub use arc_challenge::{ArcChallenge, ArcPlatform, MAX_ARC_KEY, arc_secret};
pub use endpoint::SourceEndpoint;
pub use error_kind::source_error_kind;
pub use reason::SourceReason;
pub use request::{SourceMethod, SourceQuery, SourceRequest};
pub use token::SourceToken;
pub use variables::{ARC_AGENT_LINUX, ARC_AGENT_WINDOWS, SourceVariables};

use std::fmt;

/// A source of tokens for the managed identities of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ManagedIdentitySource {
    /// The instance metadata service of virtual machines and scale sets: v1 for plain bearer tokens, v2 for all others.
    Imds,
    /// App Service and Functions; Container Apps use the same protocol.
    AppService,
    /// Service Fabric.
    ServiceFabric,
    /// The agent of Azure Arc on a server outside of Azure.
    AzureArc,
    /// Azure Machine Learning.
    MachineLearning,
    /// Azure Cloud Shell, whose token is that of the signed-in user.
    CloudShell,
}

impl ManagedIdentitySource {
    /// Every source, in the order of detection; IMDS, which has no sign, is last.
    pub const ALL: [Self; 6] = [
        Self::ServiceFabric,
        Self::AppService,
        Self::MachineLearning,
        Self::CloudShell,
        Self::AzureArc,
        Self::Imds,
    ];

    /// The stable name in results and metrics: `imds`, `app_service`, …
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Imds => "imds",
            Self::AppService => "app_service",
            Self::ServiceFabric => "service_fabric",
            Self::AzureArc => "azure_arc",
            Self::MachineLearning => "machine_learning",
            Self::CloudShell => "cloud_shell",
        }
    }
}

/// The name in messages: `App Service`, …
impl fmt::Display for ManagedIdentitySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Imds => "IMDS",
            Self::AppService => "App Service",
            Self::ServiceFabric => "Service Fabric",
            Self::AzureArc => "Azure Arc",
            Self::MachineLearning => "Machine Learning",
            Self::CloudShell => "Cloud Shell",
        })
    }
}
