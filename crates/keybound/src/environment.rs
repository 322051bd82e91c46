use std::collections::BTreeMap;
use std::fmt;

/// The environment variables that the client reads, as a value: the address of IMDS and the proxies. Variables that
/// would widen trust are not among them.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<&'static str, String>);

impl Environment {
    /// Takes the variables of this process.
    pub fn from_process() -> Self {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// Takes none.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Takes the variables from a lookup: for tests, and for programs that keep their settings elsewhere.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let value =
            |name: &'static str| Some((name, lookup(name).filter(|value| !value.is_empty())?));
        Self(NAMES.iter().filter_map(|name| value(name)).collect())
    }

    pub(crate) fn imds_endpoint(&self) -> Option<&str> {
        self.get(IMDS)
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

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// Names only: a proxy's URL may hold a password.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

const IMDS: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
const NAMES: [&str; 7] = [
    IMDS,
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

    #[test]
    fn empty_values_count_as_absent() {
        let environment = Environment::from_lookup(|_| Some(String::new()));
        assert_eq!(environment.imds_endpoint(), None);
    }
}
