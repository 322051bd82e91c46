use keybound_attestation::native::NativeAttestation;
use keybound_core::source::{ARC_AGENT_LINUX, ARC_AGENT_WINDOWS, SourceVariables};
use keybound_core::{Error, Result};
use keybound_keys::ProviderChain;
use keybound_transport::ProxyConfig;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The environment variables that the client reads, as a value: the address of IMDS, the proxies, the name of the KeyGuard key,
/// the operator's switches and allow-list (`MSAL_MI_DISABLE_IMDS_V2`, `MSAL_MI_DISABLE_PERSISTENT_CERT_CACHE`,
/// `MSAL_MI_IMDSV2_ALLOWED_HOSTS`), those of app registrations and AKS workload identity (`AZURE_AUTHORITY_HOST`, `AZURE_TENANT_ID`,
/// `AZURE_CLIENT_ID`, `AZURE_FEDERATED_TOKEN_FILE`), the variables of the managed identity sources (`ProgramData` among them, for the key files of
/// Azure Arc on Windows), and the settings of the attestation. Also whether the agent of Azure Arc is installed. None of them
/// extends trust: the attestation library that `ATTESTATION_CLIENTLIB_PATH` names is loaded only if Microsoft signed it.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<&'static str, String>,
    /// Whether the agent of Azure Arc is installed.
    arc_agent: bool,
}

impl Environment {
    /// The variables of this process. Invalid Unicode is replaced, so that the value is rejected and not ignored.
    /// `MSAL_MI_DISABLE_IMDS_V2` is read once for the process, by the first call, as in MSAL.
    pub fn from_process() -> Self {
        static DISABLE_V2_VALUE: OnceLock<Option<String>> = OnceLock::new();
        let variable = |name: &str| Some(std::env::var_os(name)?.to_string_lossy().into_owned());
        Self {
            arc_agent: arc_agent(variable).is_some_and(|path| path.exists()),
            ..Self::with_switch(&DISABLE_V2_VALUE, variable)
        }
    }

    fn with_switch(
        switch: &OnceLock<Option<String>>,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Self {
        Self::from_lookup(|name| match name {
            DISABLE_V2 => switch.get_or_init(|| lookup(DISABLE_V2)).clone(),
            name => lookup(name),
        })
    }

    /// No variables.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The variables that `lookup` returns: for tests, and for programs that store their settings elsewhere. An empty value
    /// counts as absent, except of `MSAL_MSI_V2_ATTESTATION_CACHE`. The agent of Azure Arc counts as not installed.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let value = |name: &'static str| Some((name, lookup(name)?));
        let names = NAMES.into_iter().chain(SourceVariables::NAMES);
        Self {
            variables: names.filter_map(value).collect(),
            ..Self::default()
        }
    }

    /// The native attestation library, at the path in `ATTESTATION_CLIENTLIB_PATH` if it is set: the client's default on
    /// Windows. Its further settings can be changed.
    pub fn native_attestation(&self) -> NativeAttestation {
        let native = NativeAttestation::new();
        match self.attestation_library() {
            Some(path) => native.library_from_environment(path),
            None => native,
        }
    }

    /// The platform's key providers, the client's default; the container of the KeyGuard key is the one in
    /// `MSAL_MSI_V2_KEY_NAME` if it is set.
    pub fn key_providers(&self) -> ProviderChain {
        ProviderChain::platform_named(self.key_name())
    }

    /// The names of the variables that are set, in alphabetical order; `ProgramData`, which Windows sets, is one of them.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.variables.keys().copied()
    }

    /// The proxy for Entra and resources, the client's default: that of the variables, otherwise that of the system.
    pub fn proxy(&self) -> ProxyConfig {
        let no_proxy = self.no_proxy();
        match self.https_proxy() {
            None => ProxyConfig::system().with_no_proxy(no_proxy.unwrap_or_default()),
            named => ProxyConfig::from_environment(named, no_proxy),
        }
    }

    /// Whether attestation tokens are cached: unless `MSAL_MSI_V2_ATTESTATION_CACHE` is set to another value than 1, true, yes,
    /// y or on, in any case and with whitespace around it. As in the Python implementation, an empty value is another value.
    pub(crate) fn attestation_cache(&self) -> bool {
        self.variables.get(ATTESTATION_CACHE).is_none_or(|value| {
            let value = value.trim_matches(is_blank).to_ascii_lowercase();
            ["1", "true", "yes", "y", "on"].contains(&value.as_str())
        })
    }

    /// Whether `MSAL_MI_DISABLE_IMDS_V2` disables managed identity v2: `true` in any case, or `1`.
    pub fn imds_v2_disabled(&self) -> bool {
        self.is_on(DISABLE_V2)
    }

    /// Whether `MSAL_MI_DISABLE_PERSISTENT_CERT_CACHE` disables the store of certificates: `true` in any case, or `1`.
    pub(crate) fn no_binding_store(&self) -> bool {
        self.is_on(NO_STORE)
    }

    /// The operator's allow-list, if any.
    pub(crate) fn allowed_hosts(&self) -> Option<&str> {
        self.get(ALLOWED_HOSTS)
    }

    /// The path of the native attestation library, if any.
    pub(crate) fn attestation_library(&self) -> Option<&str> {
        self.get(ATTESTATION_LIBRARY)
    }

    pub(crate) fn imds_endpoint(&self) -> Option<&str> {
        self.get(IMDS)
    }

    /// The container of the KeyGuard key, if not MSAL's.
    pub(crate) fn key_name(&self) -> Option<&str> {
        self.get(KEY_NAME)
    }

    /// The authority of app registrations, if any.
    pub(crate) fn authority_host(&self) -> Option<&str> {
        self.get(AUTHORITY)
    }

    /// The app registration of AKS workload identity.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) if a variable is not set.
    pub(crate) fn workload_identity(&self) -> Result<WorkloadIdentity> {
        let variable = |name| {
            let missing = || Error::invalid_request(format!("{name} is not set"));
            self.get(name).map(str::to_owned).ok_or_else(missing)
        };
        Ok(WorkloadIdentity {
            tenant_id: variable(TENANT)?,
            client_id: variable(CLIENT)?,
            token_file: variable(TOKEN_FILE)?,
        })
    }

    /// The variables of the managed identity sources.
    pub(crate) fn source_variables(&self) -> SourceVariables {
        SourceVariables::new(|name| self.get(name).map(str::to_owned), self.arc_agent)
    }

    /// The directory for the data of services on Windows.
    #[cfg(windows)]
    pub(crate) fn program_data(&self) -> Option<&str> {
        self.get(PROGRAM_DATA)
    }

    pub(crate) fn https_proxy(&self) -> Option<&str> {
        ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
            .iter()
            .find_map(|name| self.get(name))
    }

    pub(crate) fn no_proxy(&self) -> Option<&str> {
        ["NO_PROXY", "no_proxy"]
            .iter()
            .find_map(|name| self.get(name))
    }

    fn is_on(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"))
    }

    fn get(&self, name: &str) -> Option<&str> {
        let value = self.variables.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }
}

/// The app registration that AKS workload identity configures.
pub(crate) struct WorkloadIdentity {
    pub(crate) tenant_id: String,
    pub(crate) client_id: String,
    pub(crate) token_file: String,
}

/// The program of the agent of Azure Arc, if it exists for this platform.
fn arc_agent(variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    if cfg!(windows) {
        Some(Path::new(&variable("ProgramFiles")?).join(ARC_AGENT_WINDOWS))
    } else {
        cfg!(target_os = "linux").then(|| ARC_AGENT_LINUX.into())
    }
}

/// Whether Python's `str.strip` removes a character: whitespace and the separators of ASCII.
fn is_blank(character: char) -> bool {
    character.is_whitespace() || ('\x1c'..='\x1f').contains(&character)
}

/// Names only: the URL of a proxy may hold a password.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

const IMDS: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
const KEY_NAME: &str = "MSAL_MSI_V2_KEY_NAME";
const ATTESTATION_LIBRARY: &str = "ATTESTATION_CLIENTLIB_PATH";
const ATTESTATION_CACHE: &str = "MSAL_MSI_V2_ATTESTATION_CACHE";
const DISABLE_V2: &str = "MSAL_MI_DISABLE_IMDS_V2";
const NO_STORE: &str = "MSAL_MI_DISABLE_PERSISTENT_CERT_CACHE";
const ALLOWED_HOSTS: &str = "MSAL_MI_IMDSV2_ALLOWED_HOSTS";
const PROGRAM_DATA: &str = "ProgramData";
const AUTHORITY: &str = "AZURE_AUTHORITY_HOST";
const TENANT: &str = "AZURE_TENANT_ID";
const CLIENT: &str = "AZURE_CLIENT_ID";
const TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
const NAMES: [&str; 18] = [
    IMDS,
    DISABLE_V2,
    NO_STORE,
    ALLOWED_HOSTS,
    KEY_NAME,
    ATTESTATION_LIBRARY,
    ATTESTATION_CACHE,
    PROGRAM_DATA,
    AUTHORITY,
    TENANT,
    CLIENT,
    TOKEN_FILE,
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stay_secret_in_debug() {
        let environment = Environment::from_lookup(|name| {
            (name == "HTTPS_PROXY").then(|| "http://user:swordfish@proxy".to_owned())
        });
        assert_eq!(
            environment.https_proxy(),
            Some("http://user:swordfish@proxy")
        );
        assert_eq!(format!("{environment:?}"), r#"{"HTTPS_PROXY"}"#);
    }

    fn environment(variable: &'static str, value: &'static str) -> Environment {
        Environment::from_lookup(|name| (name == variable).then(|| value.to_owned()))
    }

    #[test]
    fn switches_are_on_for_true_and_1_only() {
        for value in ["1", "true", "TRUE", "True"] {
            assert!(
                environment("MSAL_MI_DISABLE_IMDS_V2", value).imds_v2_disabled(),
                "{value:?}"
            );
            assert!(
                environment("MSAL_MI_DISABLE_PERSISTENT_CERT_CACHE", value).no_binding_store(),
                "{value:?}"
            );
        }
        for value in [
            "",
            "0",
            "false",
            "yes",
            "on",
            "2",
            "11",
            " 1",
            "true ",
            "t\u{fffd}ue",
            "\u{ff11}",
        ] {
            assert!(
                !environment("MSAL_MI_DISABLE_IMDS_V2", value).imds_v2_disabled(),
                "{value:?}"
            );
            assert!(
                !environment("MSAL_MI_DISABLE_PERSISTENT_CERT_CACHE", value).no_binding_store(),
                "{value:?}"
            );
        }
        assert!(!Environment::empty().imds_v2_disabled());
        assert!(!environment("MSAL_MI_DISABLE_PERSISTENT_CERT_CACHE", "1").imds_v2_disabled());
        assert!(!environment("MSAL_MI_DISABLE_IMDS_V2", "1").no_binding_store());
    }

    #[test]
    fn reads_v2_switch_once_for_the_process() {
        let variables = |value: &'static str| move |_: &str| Some(value.to_owned());
        let switch = OnceLock::new();
        assert!(Environment::with_switch(&switch, variables("1")).imds_v2_disabled());
        let later = Environment::with_switch(&switch, variables("0"));
        assert!(later.imds_v2_disabled() && !later.no_binding_store());
        assert_eq!(
            later.imds_endpoint(),
            Some("0"),
            "other variables are read each time"
        );
        let unset = OnceLock::new();
        assert!(!Environment::with_switch(&unset, |_| None).imds_v2_disabled());
        assert!(!Environment::with_switch(&unset, variables("1")).imds_v2_disabled());
    }

    #[test]
    fn ignores_empty_values() {
        let environment = Environment::from_lookup(|_| Some(String::new()));
        assert_eq!(environment.imds_endpoint(), None);
        assert_eq!(environment.attestation_library(), None);
        assert_eq!(environment.key_name(), None);
        assert_eq!(
            (environment.https_proxy(), environment.no_proxy()),
            (None, None)
        );
    }

    #[test]
    fn attestation_cache_is_on_unless_disabled() {
        let cache = |value: &'static str| {
            Environment::from_lookup(|name| {
                (name == "MSAL_MSI_V2_ATTESTATION_CACHE").then(|| value.to_owned())
            })
            .attestation_cache()
        };
        assert!(Environment::empty().attestation_cache());
        for value in ["1", "true", " Yes ", "Y", "ON", "\u{a0}\x1cyEs\x1f\n"] {
            assert!(cache(value), "{value:?}");
        }
        for value in [
            "0",
            "false",
            "no",
            "off",
            "2",
            " ",
            "",
            "\0on",
            "o n",
            "tru\u{fffd}",
        ] {
            assert!(!cache(value), "{value:?}");
        }
    }

    #[test]
    fn uses_attestation_library_named_by_environment() {
        let environment = Environment::from_lookup(|name| {
            (name == "ATTESTATION_CLIENTLIB_PATH").then(|| "C:\\x.dll".to_owned())
        });
        let named = format!("{:?}", environment.native_attestation());
        assert!(named.contains("x.dll"), "{named}");
        let unnamed = format!("{:?}", Environment::empty().native_attestation());
        assert!(unnamed.contains("None"), "{unnamed}");
    }
}
