use crate::apis::cause;
use crate::metrics::Metrics;
use crate::{Apis, Config, ConfigError};
use keybound_resource::{KeyFile, KeyStatus};
use std::collections::BTreeMap;

/// The keys that the issuers of a configuration publish.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FetchedKeys {
    /// For `[keys] file` of other daemons with the same APIs. It has the keys that the daemon would use, and no others.
    pub file: KeyFile,
    /// The issuers whose keys could not be fetched, each with the cause.
    pub missing: BTreeMap<String, String>,
}

impl FetchedKeys {
    /// Fetches them.
    ///
    /// # Errors
    /// If the configuration is not usable, has its keys in a file, or has an issuer whose keys depend on the API.
    pub async fn fetch(config: &Config) -> Result<Self, ConfigError> {
        if config.keys.file.is_some() {
            return Err(ConfigError::new(
                "[keys]: the keys are in a file, and are not fetched",
            ));
        }
        let apis = Apis::build(config, &Metrics::default(), &|_, builder| builder, None)?;
        let all: Vec<_> = apis
            .iter()
            .flat_map(|api| api.verifier.key_status())
            .collect();
        check_metadata(&all)?;
        // What is missing is named below.
        let _ = apis.fetch_keys().await;
        let mut fetched = Self {
            file: KeyFile::default(),
            missing: BTreeMap::new(),
        };
        for status in apis.iter().flat_map(|api| api.verifier.key_status()) {
            match status.published() {
                Some(keys) => fetched.file.insert(keys.clone()),
                None => {
                    let issuer = status.issuer().to_owned();
                    fetched.missing.insert(issuer, cause(&status));
                }
            }
        }
        let file = &fetched.file;
        fetched
            .missing
            .retain(|issuer, _| file.issuer(issuer).is_none());
        Ok(fetched)
    }

    /// The keys, with those of an earlier file where they could not be fetched.
    #[must_use]
    pub fn completed_by(self, earlier: &KeyFile) -> KeyFile {
        let mut file = self.file;
        for issuer in self.missing.keys() {
            if let Some(keys) = earlier.issuer(issuer) {
                file.insert(keys.clone());
            }
        }
        file
    }
}

/// In a key file, an issuer has one set of keys. APIs that have separate signing keys have other metadata with the same issuer.
fn check_metadata(all: &[KeyStatus]) -> Result<(), ConfigError> {
    let mut known = BTreeMap::new();
    for status in all {
        let first = *known.entry(status.issuer()).or_insert(status.metadata());
        if first != status.metadata() {
            return Err(ConfigError::new(format!(
                "the issuer {} has different metadata in two APIs: write a key file for each, with one configuration for each",
                status.issuer()
            )));
        }
    }
    Ok(())
}
