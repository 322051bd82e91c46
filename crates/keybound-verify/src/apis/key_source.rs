use super::MAX_PEM;
use crate::{Config, ConfigError};
use keybound_resource::fetch::{HttpsKeyFetcher, HttpsSettings, TrustAnchors};
use keybound_resource::{KeyStatus, Keys, Verifier, regular_file};
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// Where the keys are from.
pub(super) struct KeySource<'a> {
    origin: KeyOrigin<'a>,
    max_age: Option<Duration>,
}

enum KeyOrigin<'a> {
    File(&'a Path),
    Discovered(HttpsKeyFetcher),
}

impl<'a> KeySource<'a> {
    pub(super) fn new(config: &'a Config) -> Result<Self, ConfigError> {
        let origin = match &config.keys.file {
            Some(path) => KeyOrigin::File(path),
            None => KeyOrigin::Discovered(fetcher(config.keys.ca_file.as_deref())?),
        };
        Ok(Self {
            origin,
            max_age: config.keys.max_age.map(Duration::from_secs),
        })
    }

    pub(super) fn keys(&self) -> Result<Keys, ConfigError> {
        let keys = match &self.origin {
            KeyOrigin::Discovered(fetcher) => Keys::discovered(fetcher.clone()),
            KeyOrigin::File(path) => Keys::file(*path)
                .map_err(|error| ConfigError::new(format!("[keys]: {}", Chain(&error))))?,
        };
        Ok(match self.max_age {
            Some(max_age) => keys.max_age(max_age),
            None => keys,
        })
    }

    /// A file has the keys of all issuers. Whether they are too old changes with time: then the daemon is not ready.
    pub(super) fn check(&self, api: &str, verifier: &Verifier) -> Result<(), ConfigError> {
        let KeyOrigin::File(path) = &self.origin else {
            return Ok(());
        };
        let status = verifier.key_status();
        // Other keys than those of the file have metadata: `Extend` may have replaced them.
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

fn fetcher(ca_file: Option<&Path>) -> Result<HttpsKeyFetcher, ConfigError> {
    let mut settings = HttpsSettings::default();
    if let Some(path) = ca_file {
        let wrong = |error: &dyn fmt::Display| {
            ConfigError::new(format!("[keys]: ca_file {}: {error}", path.display()))
        };
        let pem = regular_file::read(path, MAX_PEM).map_err(|error| wrong(&error))?;
        settings.trust = TrustAnchors::system()
            .with_pem(&pem)
            .map_err(|error| wrong(&error))?;
    }
    HttpsKeyFetcher::new(settings).map_err(|error| ConfigError::new(format!("[keys]: {error}")))
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
