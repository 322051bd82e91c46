use super::attestation::LibraryArgs;
use super::values::{self, Engine, TlsChoice};
use clap::{Args, ValueEnum};
use keybound::{KeyStrength, ManagedIdentity, Scope};
use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

/// The resource of a token.
#[derive(Debug, Args)]
pub(crate) struct TargetArgs {
    /// The resource that the token is for, such as https://vault.azure.net
    #[arg(long, value_name = "URI", value_parser = Scope::for_resource, conflicts_with = "scope", help_heading = "Token")]
    pub(crate) resource: Option<Scope>,

    /// The same as a scope [default: https://graph.microsoft.com/.default, or Graph in the cloud of the app registration;
    /// call of a vault: the vault's]
    #[arg(long, value_name = "SCOPE", value_parser = Scope::for_resource, help_heading = "Token")]
    pub(crate) scope: Option<Scope>,
}

impl TargetArgs {
    /// The scope of the token, if any.
    pub(crate) fn scope(&self) -> Option<&str> {
        let target = self.resource.as_ref().or(self.scope.as_ref());
        target.map(Scope::as_str)
    }
}

/// Identity, key and connections.
#[derive(Debug, Args)]
pub(crate) struct HostArgs {
    /// The user-assigned identity with this client id (a GUID)
    #[arg(
        long,
        value_name = "ID",
        value_parser = ManagedIdentity::client_id,
        conflicts_with_all = ["object_id", "resource_id"],
        help_heading = "Identity (default: the system-assigned one)"
    )]
    pub(crate) client_id: Option<ManagedIdentity>,

    /// The user-assigned identity with this object id (a GUID)
    #[arg(
        long,
        value_name = "ID",
        value_parser = ManagedIdentity::object_id,
        conflicts_with = "resource_id",
        help_heading = "Identity (default: the system-assigned one)"
    )]
    pub(crate) object_id: Option<ManagedIdentity>,

    /// The user-assigned identity with this resource id (/subscriptions/…)
    #[arg(
        long,
        value_name = "ID",
        value_parser = ManagedIdentity::resource_id,
        help_heading = "Identity (default: the system-assigned one)"
    )]
    pub(crate) resource_id: Option<ManagedIdentity>,

    /// Request a certificate without attestation of the key, if IMDS allows that
    #[arg(long, help_heading = "Key")]
    pub(crate) no_attestation: bool,

    #[command(flatten)]
    pub(crate) library: LibraryArgs,

    /// The minimum key strength; the strongest key of the host is used
    #[arg(long, value_name = "STRENGTH", value_enum, default_value_t = MinStrength::Keyguard, help_heading = "Key")]
    pub(crate) min_strength: MinStrength,

    /// Use the emulator's simulated key and attestation; requires an IMDS on loopback and a CA file
    #[arg(long, help_heading = "Key")]
    pub(crate) simulated: bool,

    /// Address of IMDS, which is then the default source [default: http://169.254.169.254] [env:
    /// AZURE_POD_IDENTITY_AUTHORITY_HOST]
    // clap does not read the variable: it does not choose the source.
    #[arg(long, value_name = "URL", help_heading = "Connections")]
    pub(crate) imds: Option<String>,

    /// Also trust the CA certificates of this file, for all hosts. Without it, those of KEYBOUND_CA_FILE are trusted for
    /// loopback hosts, with a warning
    #[arg(long, value_name = "PEM", help_heading = "Connections")]
    pub(crate) ca_file: Option<PathBuf>,

    /// TLS versions for a host, on all its ports: HOST=1.2, HOST=1.3 or HOST=1.2-1.3; may be repeated
    #[arg(long = "tls", value_name = "HOST=VERSIONS", value_parser = values::tls_choice, help_heading = "Connections")]
    pub(crate) tls: Vec<TlsChoice>,

    /// The TLS library: automatic is the system's (SChannel on Windows, OpenSSL elsewhere), but OpenSSL for keys and CA
    /// files that SChannel does not support
    #[arg(
        long,
        value_name = "ENGINE",
        default_value = "automatic",
        help_heading = "Connections"
    )]
    pub(crate) tls_engine: Engine,

    /// Allow this host for the endpoints from IMDS and the authority of an app registration (a name, or *.domain); may be
    /// repeated; default: any public host from IMDS, and any authority
    #[arg(
        long = "allowed-host",
        value_name = "HOST",
        value_parser = values::allowed_host,
        help_heading = "Connections"
    )]
    pub(crate) allowed_hosts: Vec<String>,

    /// The timeout of the whole command, in seconds
    #[arg(
        long,
        value_name = "SECONDS",
        value_parser = values::timeout,
        default_value = "60",
        help_heading = "Connections"
    )]
    pub(crate) timeout: Duration,
}

impl HostArgs {
    /// The requested identity.
    pub(crate) fn identity(&self) -> ManagedIdentity {
        let named = [&self.client_id, &self.object_id, &self.resource_id];
        match named.into_iter().flatten().next() {
            Some(identity) => identity.clone(),
            None => ManagedIdentity::system_assigned(),
        }
    }

    /// The address of IMDS by the option, if any.
    pub(crate) fn imds(&self) -> Option<&str> {
        self.imds.as_deref().filter(|url| !url.is_empty())
    }

    /// The address of IMDS by the option or the environment, if any.
    pub(crate) fn configured_imds(&self) -> Option<Cow<'_, str>> {
        let of_environment = || {
            let url = std::env::var_os("AZURE_POD_IDENTITY_AUTHORITY_HOST")?;
            // Invalid Unicode is replaced, as in the library; the result does not parse as a URL.
            Some(url.to_string_lossy().into_owned().into())
        };
        let url = self.imds().map(Cow::Borrowed).or_else(of_environment);
        url.filter(|url| !url.is_empty())
    }
}

/// The minimum key strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MinStrength {
    /// Any key, also in memory
    Software,
    /// A key in a TPM, or better
    Hardware,
    /// A key isolated by virtualization-based security
    Keyguard,
}

impl From<MinStrength> for KeyStrength {
    fn from(min_strength: MinStrength) -> Self {
        match min_strength {
            MinStrength::Software => Self::Software,
            MinStrength::Hardware => Self::Hardware,
            MinStrength::Keyguard => Self::KeyGuard,
        }
    }
}
