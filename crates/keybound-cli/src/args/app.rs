use super::values;
use clap::Args;
use keybound::confidential::Cloud;
use keybound_core::{Guid, Scope};
use std::path::PathBuf;

/// An app registration with a federated credential.
#[derive(Debug, Args)]
#[command(next_help_heading = "App registration (default: the managed identity itself)")]
pub(crate) struct AppArgs {
    /// Get the token for the app registration with this client id (a GUID), in exchange for a token of the managed identity
    #[arg(long, value_name = "ID", value_parser = values::guid, requires = "tenant")]
    pub(crate) app_id: Option<Guid>,

    /// The tenant of the app registration (a GUID)
    #[arg(long, value_name = "ID", value_parser = values::guid, requires = "app_id")]
    pub(crate) tenant: Option<Guid>,

    /// Exchange the assertion in this file in place of a token of the managed identity; for bearer tokens only
    #[arg(long, value_name = "FILE", requires_all = ["app_id", "bearer"], conflicts_with_all = OF_IDENTITY)]
    pub(crate) federated_token_file: Option<PathBuf>,

    /// The app registration and the file that AKS workload identity configures (AZURE_TENANT_ID, AZURE_CLIENT_ID,
    /// AZURE_FEDERATED_TOKEN_FILE); for bearer tokens only
    #[arg(long, requires = "bearer", conflicts_with_all = ["app_id", "tenant", "federated_token_file"], conflicts_with_all = OF_IDENTITY)]
    pub(crate) workload_identity: bool,

    /// The cloud of the app registration: public, us-government, china, france, germany or singapore [default: that of
    /// AZURE_AUTHORITY_HOST, otherwise public; --simulated: the emulator]
    #[arg(long, value_name = "NAME", conflicts_with = "authority")]
    pub(crate) cloud: Option<Cloud>,

    /// The authority of the app registration, in place of that of a cloud [env: AZURE_AUTHORITY_HOST]
    // clap does not read the variable: the library does, and the option has no effect without an app registration.
    #[arg(long, value_name = "URL")]
    pub(crate) authority: Option<String>,

    /// The authority for mutual TLS, to which bound assertions are sent [default: that of the authority]
    #[arg(long, value_name = "URL")]
    pub(crate) mtls_authority: Option<String>,

    /// The region whose host for mutual TLS is used, such as westus2 [default: the global host]
    #[arg(long, value_name = "NAME")]
    pub(crate) region: Option<String>,

    /// The audience of the managed identity's token [default: that of the cloud]
    #[arg(long, value_name = "URI", value_parser = Scope::for_resource, conflicts_with_all = ["federated_token_file", "workload_identity"])]
    pub(crate) exchange_audience: Option<Scope>,
}

impl AppArgs {
    /// Whether the token is for an app registration.
    pub(crate) fn is_set(&self) -> bool {
        self.app_id.is_some() || self.workload_identity
    }

    /// The authority of the environment, if no option names one.
    pub(crate) fn authority_of_environment(&self) -> Option<String> {
        if self.cloud.is_some() || self.authority.is_some() {
            return None;
        }
        let url = std::env::var_os("AZURE_AUTHORITY_HOST").filter(|url| !url.is_empty())?;
        Some(url.to_string_lossy().into_owned())
    }
}

/// The options of the managed identity, which have no effect with an assertion from a file.
const OF_IDENTITY: [&str; 10] = [
    "client_id",
    "object_id",
    "resource_id",
    "imds",
    "source",
    "simulated",
    "no_attestation",
    "min_strength",
    "attestation_library",
    "attestation_null_arguments",
];
