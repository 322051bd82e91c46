use super::{ManagedIdentitySource, SourceReason};
use std::collections::BTreeMap;
use std::fmt;

/// What selects and configures the source of a host: environment variables, and whether the agent of Azure Arc is installed.
/// `Debug` shows names only, since some values are secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SourceVariables {
    values: BTreeMap<&'static str, String>,
    arc_agent: bool,
}

impl SourceVariables {
    /// The names of the variables.
    pub const NAMES: [&'static str; 7] = [
        IDENTITY_ENDPOINT,
        IDENTITY_HEADER,
        IDENTITY_SERVER_THUMBPRINT,
        IMDS_ENDPOINT,
        MSI_ENDPOINT,
        MSI_SECRET,
        DEFAULT_IDENTITY_CLIENT_ID,
    ];

    /// The variables that `lookup` returns; an empty value counts as absent. `arc_agent` is whether the file of the agent of
    /// Azure Arc exists ([`ARC_AGENT_LINUX`], [`ARC_AGENT_WINDOWS`]).
    pub fn new(lookup: impl Fn(&str) -> Option<String>, arc_agent: bool) -> Self {
        let value =
            |name: &'static str| Some((name, lookup(name).filter(|text| !text.is_empty())?));
        Self {
            values: Self::NAMES.into_iter().filter_map(value).collect(),
            arc_agent,
        }
    }

    /// The source of the host, by the variables that it sets, in the order of MSAL.
    pub fn detect(&self) -> ManagedIdentitySource {
        self.detect_with_reason().0
    }

    /// The same, and what it was detected by.
    pub fn detect_with_reason(&self) -> (ManagedIdentitySource, SourceReason) {
        let is_set = |name: &&str| self.get(name).is_some();
        if let Some((names, source)) = SIGNS.iter().find(|(names, _)| names.iter().all(is_set)) {
            (*source, SourceReason::Variables(names))
        } else if self.arc_agent {
            (ManagedIdentitySource::AzureArc, SourceReason::AzureArcAgent)
        } else {
            (ManagedIdentitySource::Imds, SourceReason::Default)
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }
}

impl fmt::Debug for SourceVariables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceVariables")
            .field("set", &self.values.keys())
            .field("arc_agent", &self.arc_agent)
            .finish()
    }
}

/// The program of the agent of Azure Arc on Linux.
pub const ARC_AGENT_LINUX: &str = "/opt/azcmagent/bin/himds";
/// The same on Windows, below `%ProgramFiles%`.
pub const ARC_AGENT_WINDOWS: &str = r"AzureConnectedMachineAgent\himds.exe";

pub(super) const IDENTITY_ENDPOINT: &str = "IDENTITY_ENDPOINT";
pub(super) const IDENTITY_HEADER: &str = "IDENTITY_HEADER";
pub(super) const IDENTITY_SERVER_THUMBPRINT: &str = "IDENTITY_SERVER_THUMBPRINT";
const IMDS_ENDPOINT: &str = "IMDS_ENDPOINT";
pub(super) const MSI_ENDPOINT: &str = "MSI_ENDPOINT";
pub(super) const MSI_SECRET: &str = "MSI_SECRET";
pub(super) const DEFAULT_IDENTITY_CLIENT_ID: &str = "DEFAULT_IDENTITY_CLIENT_ID";

/// The variables that show a source, in the order of detection.
const SIGNS: [(&[&str], ManagedIdentitySource); 5] = [
    (
        &[
            IDENTITY_ENDPOINT,
            IDENTITY_HEADER,
            IDENTITY_SERVER_THUMBPRINT,
        ],
        ManagedIdentitySource::ServiceFabric,
    ),
    (
        &[IDENTITY_ENDPOINT, IDENTITY_HEADER],
        ManagedIdentitySource::AppService,
    ),
    (
        &[MSI_ENDPOINT, MSI_SECRET],
        ManagedIdentitySource::MachineLearning,
    ),
    (&[MSI_ENDPOINT], ManagedIdentitySource::CloudShell),
    (
        &[IDENTITY_ENDPOINT, IMDS_ENDPOINT],
        ManagedIdentitySource::AzureArc,
    ),
];
