use super::MAX_PEM;
use crate::{ConfigError, KeysConfig};
use keybound_resource::fetch::{HttpsKeyFetcher, HttpsSettings, TrustAnchors};
use keybound_resource::{KeyStatus, Keys, Verifier, regular_file};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The section `[keys]` with the content of its CA file.
#[derive(PartialEq, Eq)]
pub(super) struct KeySettings {
    config: KeysConfig,
    ca: Option<Vec<u8>>,
}

impl KeySettings {
    pub(super) fn read(config: &KeysConfig) -> Result<Self, ConfigError> {
        let read = |path: &PathBuf| {
            let content = regular_file::read(path, MAX_PEM);
            content.map_err(|error| wrong_ca(path, &error))
        };
        Ok(Self {
            config: config.clone(),
            ca: config.ca_file.as_ref().map(read).transpose()?,
        })
    }

    fn fetcher(&self) -> Result<HttpsKeyFetcher, ConfigError> {
        let mut settings = HttpsSettings::default();
        if let (Some(path), Some(pem)) = (&self.config.ca_file, &self.ca) {
            let trust = TrustAnchors::system().with_pem(pem);
            settings.trust = trust.map_err(|error| wrong_ca(path, &error))?;
        }
        HttpsKeyFetcher::new(settings).map_err(|error| ConfigError::new(format!("[keys]: {error}")))
    }
}

fn wrong_ca(path: &Path, error: &dyn fmt::Display) -> ConfigError {
    ConfigError::new(format!("[keys]: ca_file {}: {error}", path.display()))
}

/// Where the keys are from.
pub(super) struct KeySource<'a> {
    /// A file is read once for all APIs.
    keys: Keys,
    file: Option<&'a Path>,
}

impl<'a> KeySource<'a> {
    pub(super) fn new(settings: &'a KeySettings) -> Result<Self, ConfigError> {
        let file = settings.config.file.as_deref();
        let keys = match file {
            None => Keys::discovered(settings.fetcher()?),
            Some(path) => Keys::file(path)
                .map_err(|error| ConfigError::new(format!("[keys]: {}", Chain(&error))))?,
        };
        let keys = match settings.config.max_age {
            Some(seconds) => keys.max_age(Duration::from_secs(seconds)),
            None => keys,
        };
        Ok(Self { keys, file })
    }

    pub(super) fn keys(&self) -> Keys {
        self.keys.clone()
    }

    /// A file has the keys of all issuers. Whether they are too old changes with time: then the daemon is not ready.
    pub(super) fn check(&self, api: &str, verifier: &Verifier) -> Result<(), ConfigError> {
        let Some(path) = self.file else {
            return Ok(());
        };
        let status = verifier.key_status();
        // Other keys than those of the file have metadata: `ExtendVerifier` may have replaced them.
        let is_missing =
            |status: &&KeyStatus| status.metadata().is_none() && status.published().is_none();
        let missing = status.iter().find(is_missing);
        missing.map_or(Ok(()), |missing| {
            Err(ConfigError::new(format!(
                "[keys]: {} has no keys of {} for the API {api}, or they were fetched in the future",
                path.display(),
                missing.issuer(),
            )))
        })
    }
}

/// An error with its causes.
struct Chain<'a>(&'a dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0, f)?;
        match self.0.source() {
            None => Ok(()),
            Some(source) => write!(f, ": {}", Chain(source)),
        }
    }
}
