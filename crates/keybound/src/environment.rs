use keybound_attestation::native::NativeAttestation;
use keybound_keys::ProviderChain;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

/// The environment variables that the client reads, as a value: the address of IMDS, the proxies, the name of the
/// KeyGuard key, the operator's switches and list of hosts (`MSAL_MI_DISABLE_IMDS_V2`,
/// `MSAL_MI_DISABLE_PERSISTENT_CERT_CACHE`, `MSAL_MI_IMDSV2_ALLOWED_HOSTS`), and what concerns the attestation. Variables that would widen trust are not among them: the attestation
/// library that `ATTESTATION_CLIENTLIB_PATH` names is used only where Microsoft signed it.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<&'static str, String>);

impl Environment {
    /// Takes the variables of this process. What is no Unicode in one is replaced: it says something, which is then found to
    /// be wrong. `MSAL_MI_DISABLE_IMDS_V2` is read once for the process, as in MSAL: the first call settles it.
    pub fn from_process() -> Self {
        static DISABLE_V2_AT_FIRST: OnceLock<Option<String>> = OnceLock::new();
        let variable = |name: &str| Some(std::env::var_os(name)?.to_string_lossy().into_owned());
        Self::with_switch(&DISABLE_V2_AT_FIRST, variable)
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

    /// Takes none.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Takes the variables from a lookup: for tests, and for programs that keep their settings elsewhere. One that is empty
    /// counts as absent, but for `MSAL_MSI_V2_ATTESTATION_CACHE`.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let value = |name: &'static str| Some((name, lookup(name)?));
        Self(NAMES.iter().filter_map(|name| value(name)).collect())
    }

    /// The native attestation library, at the path that `ATTESTATION_CLIENTLIB_PATH` names where it does. It is what
    /// the client uses on Windows by default; from here it can be given more settings.
    pub fn native_attestation(&self) -> NativeAttestation {
        let native = NativeAttestation::new();
        match self.attestation_library() {
            Some(path) => native.library_from_environment(path),
            None => native,
        }
    }

    /// The platform's keys, KeyGuard's in the container that `MSAL_MSI_V2_KEY_NAME` names where it does: what the client
    /// uses by default.
    pub fn key_providers(&self) -> ProviderChain {
        ProviderChain::platform_named(self.key_name())
    }

    /// Whether attestation tokens are cached: not where `MSAL_MSI_V2_ATTESTATION_CACHE` says anything but 1, true,
    /// yes, y or on, in letters of either case and with blanks around it. The rule is the Python system's, for which a
    /// variable that is set and empty says something else.
    pub(crate) fn attestation_cache(&self) -> bool {
        self.0.get(ATTESTATION_CACHE).is_none_or(|value| {
            let value = value.trim_matches(is_blank).to_ascii_lowercase();
            ["1", "true", "yes", "y", "on"].contains(&value.as_str())
        })
    }

    /// Whether `MSAL_MI_DISABLE_IMDS_V2` switches managed identity v2 off: `true` in any case, or `1`. Anything else does not.
    pub fn imds_v2_disabled(&self) -> bool {
        self.is_on(DISABLE_V2)
    }

    /// Whether `MSAL_MI_DISABLE_PERSISTENT_CERT_CACHE` says that no certificate is kept for later processes: `true` in any
    /// case, or `1`.
    pub(crate) fn no_binding_store(&self) -> bool {
        self.is_on(NO_STORE)
    }

    /// The operator's list of hosts, where there is one.
    pub(crate) fn allowed_hosts(&self) -> Option<&str> {
        self.get(ALLOWED_HOSTS)
    }

    /// The path of the native attestation library, where one is named.
    pub(crate) fn attestation_library(&self) -> Option<&str> {
        self.get(ATTESTATION_LIBRARY)
    }

    pub(crate) fn imds_endpoint(&self) -> Option<&str> {
        self.get(IMDS)
    }

    /// The container of the KeyGuard key, where another one than MSAL's is to be used.
    pub(crate) fn key_name(&self) -> Option<&str> {
        self.get(KEY_NAME)
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
        let value = self.0.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }
}

/// What Python's `str.strip` takes away: the separators of ASCII, too.
fn is_blank(character: char) -> bool {
    character.is_whitespace() || ('\x1c'..='\x1f').contains(&character)
}

/// Names only: a proxy's URL may hold a password.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

const IMDS: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
const KEY_NAME: &str = "MSAL_MSI_V2_KEY_NAME";
const ATTESTATION_LIBRARY: &str = "ATTESTATION_CLIENTLIB_PATH";
const ATTESTATION_CACHE: &str = "MSAL_MSI_V2_ATTESTATION_CACHE";
const DISABLE_V2: &str = "MSAL_MI_DISABLE_IMDS_V2";
const NO_STORE: &str = "MSAL_MI_DISABLE_PERSISTENT_CERT_CACHE";
const ALLOWED_HOSTS: &str = "MSAL_MI_IMDSV2_ALLOWED_HOSTS";
const NAMES: [&str; 13] = [
    IMDS,
    DISABLE_V2,
    NO_STORE,
    ALLOWED_HOSTS,
    KEY_NAME,
    ATTESTATION_LIBRARY,
    ATTESTATION_CACHE,
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

    fn with(variable: &'static str, value: &'static str) -> Environment {
        Environment::from_lookup(|name| (name == variable).then(|| value.to_owned()))
    }

    #[test]
    fn switches_are_on_for_true_and_one_only() {
        for value in ["1", "true", "TRUE", "True"] {
            assert!(
                with("MSAL_MI_DISABLE_IMDS_V2", value).imds_v2_disabled(),
                "{value:?}"
            );
            assert!(
                with("MSAL_MI_DISABLE_PERSISTENT_CERT_CACHE", value).no_binding_store(),
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
                !with("MSAL_MI_DISABLE_IMDS_V2", value).imds_v2_disabled(),
                "{value:?}"
            );
            assert!(
                !with("MSAL_MI_DISABLE_PERSISTENT_CERT_CACHE", value).no_binding_store(),
                "{value:?}"
            );
        }
        assert!(!Environment::empty().imds_v2_disabled());
        assert!(!with("MSAL_MI_DISABLE_PERSISTENT_CERT_CACHE", "1").imds_v2_disabled());
        assert!(!with("MSAL_MI_DISABLE_IMDS_V2", "1").no_binding_store());
    }

    #[test]
    fn the_switch_of_v2_is_read_once_for_the_process() {
        let variables = |value: &'static str| move |_: &str| Some(value.to_owned());
        let switch = OnceLock::new();
        assert!(Environment::with_switch(&switch, variables("1")).imds_v2_disabled());
        let later = Environment::with_switch(&switch, variables("0"));
        assert!(later.imds_v2_disabled() && !later.no_binding_store());
        assert_eq!(
            later.imds_endpoint(),
            Some("0"),
            "the others are read each time"
        );
        let unset = OnceLock::new();
        assert!(!Environment::with_switch(&unset, |_| None).imds_v2_disabled());
        assert!(!Environment::with_switch(&unset, variables("1")).imds_v2_disabled());
    }

    #[test]
    fn empty_values_count_as_absent() {
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
    fn the_cache_of_attestations_is_on_unless_it_is_switched_off() {
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
    fn the_attestation_library_is_the_one_that_the_environment_names() {
        let environment = Environment::from_lookup(|name| {
            (name == "ATTESTATION_CLIENTLIB_PATH").then(|| "C:\\x.dll".to_owned())
        });
        let named = format!("{:?}", environment.native_attestation());
        assert!(named.contains("x.dll"), "{named}");
        let unnamed = format!("{:?}", Environment::empty().native_attestation());
        assert!(unnamed.contains("None"), "{unnamed}");
    }
}
