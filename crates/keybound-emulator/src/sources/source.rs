use std::fmt;
use std::str::FromStr;

/// A source of managed identity tokens, whose environment variables select it in Azure's client libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Source {
    /// The metadata service of virtual machines, v1 and v2.
    Imds,
    /// App Service and Functions.
    AppService,
    /// Container Apps.
    ContainerApps,
    /// Service Fabric.
    ServiceFabric,
    /// Servers with the agent of Azure Arc.
    Arc,
    /// Machine Learning.
    MachineLearning,
    /// Cloud Shell.
    CloudShell,
}

impl Source {
    /// All sources.
    pub const ALL: [Self; 7] = [
        Self::Imds,
        Self::AppService,
        Self::ContainerApps,
        Self::ServiceFabric,
        Self::Arc,
        Self::MachineLearning,
        Self::CloudShell,
    ];

    /// The environment variables by which client libraries detect the sources other than IMDS. Those of other sources than the
    /// selected one must be absent.
    pub const VARIABLES: [&'static str; 7] = [
        "DEFAULT_IDENTITY_CLIENT_ID",
        "IDENTITY_ENDPOINT",
        "IDENTITY_HEADER",
        "IDENTITY_SERVER_THUMBPRINT",
        "IMDS_ENDPOINT",
        "MSI_ENDPOINT",
        "MSI_SECRET",
    ];

    /// The name, such as `app-service`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Imds => "imds",
            Self::AppService => "app-service",
            Self::ContainerApps => "container-apps",
            Self::ServiceFabric => "service-fabric",
            Self::Arc => "arc",
            Self::MachineLearning => "machine-learning",
            Self::CloudShell => "cloud-shell",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Source {
    type Err = UnknownSource;

    fn from_str(text: &str) -> Result<Self, UnknownSource> {
        let named = Self::ALL.into_iter().find(|source| source.name() == text);
        named.ok_or(UnknownSource)
    }
}

/// The name of no source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownSource;

impl fmt::Display for UnknownSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Source::ALL.map(Source::name);
        write!(f, "no such source; known: {}", names.join(", "))
    }
}

impl std::error::Error for UnknownSource {}
