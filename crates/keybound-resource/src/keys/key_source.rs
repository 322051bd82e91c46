use super::key_file_source::KeyFileSource;
use super::{FetchError, KeyFetcher, KeySet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Where a verifier has the issuers' keys from. Verifiers with clones of the same value read a file once for all of them.
#[derive(Clone, Debug)]
pub struct Keys {
    pub(super) source: Source,
    /// In seconds.
    pub(super) max_age: i64,
}

#[derive(Clone)]
pub(super) enum Source {
    Fixed(KeySet),
    File(Arc<KeyFileSource>),
    Discovered(Arc<dyn KeyFetcher>),
}

impl Keys {
    /// One key set for all accepted issuers, which does not change and has no age. A key that names no issuer verifies tokens of each of
    /// them.
    pub fn fixed(keys: KeySet) -> Self {
        Self::new(Source::Fixed(keys))
    }

    /// The keys of each issuer in a [`KeyFile`](super::KeyFile), which is read again every minute, and when a token has an unknown key, at
    /// most once a minute. Their age is counted from the time in the file at which they were fetched. Those that were not read for two
    /// minutes are used only after an attempt.
    ///
    /// # Errors
    /// If the file cannot be read now, or is no key file.
    pub fn file(path: impl Into<PathBuf>) -> Result<Self, FetchError> {
        let file = KeyFileSource::open(path.into())?;
        Ok(Self::new(Source::File(Arc::new(file))))
    }

    /// The keys that each issuer publishes, for each tenant: fetched after 55 to 60 minutes, and when a token has an unknown key, at most
    /// every five minutes. If that fails, the last ones remain in use. Those that are two hours old are used only after an attempt, which
    /// failed or takes longer than a second. For any tenant, the keys are those of the tenant `common`.
    pub fn discovered(fetcher: impl KeyFetcher) -> Self {
        Self::new(Source::Discovered(Arc::new(fetcher)))
    }

    /// How old the keys may become, since they were fetched from the issuer. Default: 24 hours. A shorter time than one hour is one hour,
    /// as discovered keys are refreshed at this interval; fixed keys have no age.
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = i64::try_from(max_age.as_secs())
            .unwrap_or(i64::MAX)
            .max(MIN_AGE);
        self
    }

    /// Whether they are those that the issuers publish.
    pub(crate) fn are_discovered(&self) -> bool {
        matches!(self.source, Source::Discovered(_))
    }

    fn new(source: Source) -> Self {
        Self {
            source,
            max_age: MAX_AGE,
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fixed(_) => "fixed",
            Self::File(..) => "file",
            Self::Discovered(_) => "discovered",
        })
    }
}

/// In seconds.
const MAX_AGE: i64 = 24 * 3600;
/// Discovered keys are refreshed at this interval.
const MIN_AGE: i64 = 3600;
