use keybound_core::lock;
use std::collections::BTreeMap;
use std::sync::Mutex;
use uuid::Uuid;

/// The secrets of the vault, with all their versions.
pub(crate) struct Secrets(Mutex<BTreeMap<String, Vec<Version>>>);

/// One version of a secret.
#[derive(Clone)]
pub(crate) struct Version {
    /// 32 hexadecimal digits.
    pub id: String,
    pub value: String,
    /// Seconds since 1970.
    pub created: u64,
}

/// Why a secret cannot be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetError {
    Name,
    TooLong,
    Full,
}

impl Secrets {
    /// The configured secrets, with one version each.
    pub fn new(configured: &BTreeMap<String, String>, now: u64) -> Self {
        let secrets = configured.iter().map(|(name, value)| {
            (
                name.to_ascii_lowercase(),
                vec![Version::new(value.clone(), now)],
            )
        });
        Self(Mutex::new(secrets.collect()))
    }

    /// A version of a secret, by default the newest. Names are case-insensitive.
    pub fn get(&self, name: &str, version: Option<&str>) -> Option<Version> {
        let secrets = lock(&self.0);
        let versions = secrets.get(&name.to_ascii_lowercase())?;
        let found = match version.filter(|version| !version.is_empty()) {
            Some(id) => versions
                .iter()
                .find(|version| version.id.eq_ignore_ascii_case(id)),
            None => versions.last(),
        };
        found.cloned()
    }

    /// The newest version of every secret.
    pub fn newest(&self) -> Vec<(String, Version)> {
        let secrets = lock(&self.0);
        secrets
            .iter()
            .filter_map(|(name, versions)| Some((name.clone(), versions.last()?.clone())))
            .collect()
    }

    /// Adds a version to a secret, which is created if absent.
    pub fn set(&self, name: &str, value: String, now: u64) -> Result<Version, SetError> {
        if !is_secret_name(name) {
            return Err(SetError::Name);
        }
        if value.len() > MAX_VALUE_BYTES {
            return Err(SetError::TooLong);
        }
        let mut secrets = lock(&self.0);
        if secrets.values().map(Vec::len).sum::<usize>() >= MAX_VERSIONS {
            return Err(SetError::Full);
        }
        let version = Version::new(value, now);
        let versions = secrets.entry(name.to_ascii_lowercase()).or_default();
        versions.push(version.clone());
        Ok(version)
    }
}

impl Version {
    fn new(value: String, created: u64) -> Self {
        Self {
            id: Uuid::new_v4().simple().to_string(),
            value,
            created,
        }
    }
}

/// Whether a text is the name of a secret in Key Vault: 1 to 127 letters, digits and dashes.
pub(crate) fn is_secret_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=127).contains(&text.len()) && text.bytes().all(allowed)
}

/// As in Key Vault.
pub(crate) const MAX_VALUE_BYTES: usize = 25 * 1024;
/// Of all secrets together, at most 25 MiB.
const MAX_VERSIONS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::VaultConfig;

    fn secrets() -> Secrets {
        Secrets::new(&VaultConfig::default().secrets, 7)
    }

    #[test]
    fn returns_the_newest_version_by_default() {
        let secrets = secrets();
        let first = secrets.get("demo-secret", None).unwrap();
        assert_eq!(first.created, 7);
        let second = secrets.set("Demo-Secret", "new".into(), 8).unwrap();
        assert_eq!(
            secrets.get("DEMO-SECRET", None).unwrap().value,
            second.value
        );
        let old = secrets.get("demo-secret", Some(&first.id)).unwrap();
        assert_eq!(old.value, first.value);
        assert!(secrets.get("demo-secret", Some("0")).is_none());
        assert!(secrets.get("other", None).is_none());
        assert_eq!(secrets.newest().len(), 1);
    }

    #[test]
    fn limits_names_values_and_versions() {
        let secrets = secrets();
        for name in ["", "a/b", "a b", "ä", &"a".repeat(128)] {
            assert_eq!(
                secrets.set(name, "v".into(), 0).err(),
                Some(SetError::Name),
                "{name}"
            );
        }
        let long = "v".repeat(MAX_VALUE_BYTES + 1);
        assert_eq!(secrets.set("a", long, 0).err(), Some(SetError::TooLong));
        for _ in 1..MAX_VERSIONS {
            secrets.set("a", "v".into(), 0).unwrap();
        }
        assert_eq!(secrets.set("a", "v".into(), 0).err(), Some(SetError::Full));
    }
}
