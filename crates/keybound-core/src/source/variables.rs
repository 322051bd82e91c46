use super::ManagedIdentitySource;
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
        let has = |names: &[&str]| names.iter().all(|name| self.get(name).is_some());
        if has(&[
            IDENTITY_ENDPOINT,
            IDENTITY_HEADER,
            IDENTITY_SERVER_THUMBPRINT,
        ]) {
            ManagedIdentitySource::ServiceFabric
        } else if has(&[IDENTITY_ENDPOINT, IDENTITY_HEADER]) {
            ManagedIdentitySource::AppService
        } else if has(&[MSI_ENDPOINT, MSI_SECRET]) {
            ManagedIdentitySource::MachineLearning
        } else if has(&[MSI_ENDPOINT]) {
            ManagedIdentitySource::CloudShell
        } else if has(&[IDENTITY_ENDPOINT, IMDS_ENDPOINT]) || self.arc_agent {
            ManagedIdentitySource::AzureArc
        } else {
            ManagedIdentitySource::Imds
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
