use super::issuer_keys::Loaded;
use super::key_file_source::KeyFileSource;
use super::key_metadata::fetch_keys;
use super::refresh_schedule::RefreshSchedule;
use super::{FetchError, IssuerKeys, KeyFetcher, KeyOrigin};
use crate::clock::{DualTime, GuardedClock};
use std::sync::Arc;

/// The keys that are refreshed together.
pub(super) enum RefreshTarget {
    /// Those of an issuer.
    Issuer(Arc<IssuerKeys>, Arc<dyn KeyFetcher>),
    /// Those of all issuers in a file, with their clock.
    File(Arc<KeyFileSource>, Arc<GuardedClock>),
}

/// Takes over what was loaded.
pub(super) type Install = Box<dyn FnOnce(DualTime) -> Result<(), FetchError> + Send>;

impl RefreshTarget {
    pub(super) fn schedule(&self) -> &Arc<RefreshSchedule> {
        match self {
            Self::Issuer(keys, _) => keys.schedule(),
            Self::File(file, _) => file.schedule(),
        }
    }

    /// Fetches or reads the keys.
    pub(super) async fn load(&self) -> Result<Install, FetchError> {
        match self {
            Self::Issuer(keys, fetcher) => {
                let KeyOrigin::Metadata { url, issuer } = keys.origin() else {
                    return Err(FetchError::new("these keys are not published"));
                };
                let fetched = fetch_keys(&**fetcher, url, issuer).await;
                let fetched = fetched.map_err(|error| error.of_keys(keys.origin()))?;
                let keys = Arc::clone(keys);
                Ok(Box::new(move |now| {
                    let loaded = Loaded {
                        keys: fetched,
                        fetched_at: now.wall,
                    };
                    keys.end_refresh(Ok(loaded), now);
                    Ok(())
                }))
            }
            Self::File(file, _) => {
                let content = file.read().await?;
                let file = Arc::clone(file);
                Ok(Box::new(move |now| file.install(content, now)))
            }
        }
    }

    /// Ends the refresh with this number, unless another one was started meanwhile.
    ///
    /// # Errors
    /// If what was loaded lacks the keys of an issuer.
    pub(super) fn end(&self, run: u64, loaded: Result<Install, String>) -> Result<(), FetchError> {
        let now = self.clock().read();
        let mut result = Ok(());
        self.schedule().end(run, now.monotonic, || match loaded {
            Ok(install) => result = install(now),
            Err(error) => self.fail(&error, now),
        });
        result
    }

    fn fail(&self, error: &str, now: DualTime) {
        match self {
            Self::Issuer(keys, _) => keys.end_refresh(Err(error.to_owned()), now),
            Self::File(file, _) => {
                for keys in file.used_keys() {
                    let error = FetchError::new(error).of_keys(keys.origin());
                    keys.end_refresh(Err(error.chain()), now);
                }
            }
        }
    }

    fn clock(&self) -> &GuardedClock {
        match self {
            Self::Issuer(keys, _) => keys.clock(),
            Self::File(_, clock) => clock,
        }
    }
}
