use super::issuer_keys::{KeyOrigin, RefreshCause};
use super::key_refresh::{parse, read_file};
use super::{FetchError, IssuerKeys, KeyFetcher, KeyRefresh, KeySet, VerificationKey};
use crate::Reason;
use crate::clock::GuardedClock;
use crate::policy::{Policy, Tenants, TokenIssuer};
use keybound_core::Guid;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Where a verifier has the issuers' keys from.
#[derive(Debug)]
pub struct Keys(Source);

enum Source {
    Fixed(KeySet),
    File(PathBuf, KeySet),
    Discovered(Arc<dyn KeyFetcher>),
}

impl Keys {
    /// One key set for all accepted issuers, which does not change.
    pub fn fixed(keys: KeySet) -> Self {
        Self(Source::Fixed(keys))
    }

    /// One key set for all accepted issuers, in a file that is read again every minute and when a token has an unknown key.
    ///
    /// # Errors
    /// If the file cannot be read now, or is not a key set.
    pub fn file(path: impl Into<PathBuf>) -> Result<Self, FetchError> {
        let path = path.into();
        let keys = parse(&read_file(&path)?)?;
        Ok(Self(Source::File(path, keys)))
    }

    /// The keys that each issuer publishes, for each tenant: fetched every hour, and when a token has an unknown key, at most every five
    /// minutes. The last ones remain in use for 24 hours. For any tenant, the keys are those of the tenant `common`.
    pub fn discovered(fetcher: impl KeyFetcher) -> Self {
        Self(Source::Discovered(Arc::new(fetcher)))
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

/// The keys of all accepted issuers.
pub(crate) struct KeyStore {
    /// One for all, or one for each issuer of each tenant.
    keys: Vec<Arc<IssuerKeys>>,
    /// The number of issuers of a tenant.
    issuers: usize,
    fetcher: Option<Arc<dyn KeyFetcher>>,
    clock: Arc<GuardedClock>,
    /// When the ages are looked at again.
    next_check: AtomicI64,
}

/// A key, and the keys among which it was found.
pub(crate) struct FoundKey {
    pub(crate) key: Arc<VerificationKey>,
    pub(crate) keys: Arc<IssuerKeys>,
}

impl KeyStore {
    pub(crate) fn new(Keys(source): Keys, policy: &Policy, clock: &Arc<GuardedClock>) -> Self {
        let (keys, fetcher) = match source {
            Source::Fixed(keys) => (vec![loaded(KeyOrigin::Fixed, keys, clock)], None),
            Source::File(path, keys) => (vec![loaded(KeyOrigin::File(path), keys, clock)], None),
            Source::Discovered(fetcher) => (discovered(policy), Some(fetcher)),
        };
        Self {
            keys,
            issuers: policy.issuers.len(),
            fetcher,
            clock: Arc::clone(clock),
            next_check: AtomicI64::new(i64::MIN),
        }
    }

    /// The key with this id of an issuer.
    pub(crate) fn find(
        &self,
        issuer: &TokenIssuer,
        id: &str,
        now: i64,
    ) -> Result<FoundKey, (Reason, Arc<IssuerKeys>)> {
        let keys = match &self.keys[..] {
            [shared] => shared,
            keys => &keys[issuer.tenant_index * self.issuers + issuer.issuer],
        };
        match keys.find(id, now) {
            Ok(key) => Ok(FoundKey {
                key,
                keys: Arc::clone(keys),
            }),
            Err(reason) => Err((reason, Arc::clone(keys))),
        }
    }

    /// Whether all issuers have keys.
    pub(crate) fn is_complete(&self) -> bool {
        let now = self.clock.now();
        self.keys.iter().all(|keys| keys.are_usable(now))
    }

    /// The refresh of keys that a token was refused for, if it may start now.
    pub(crate) fn refresh_for(&self, keys: &Arc<IssuerKeys>, reason: Reason) -> Option<KeyRefresh> {
        let cause = match reason {
            Reason::KeysUnavailable if keys.are_usable(self.clock.now()) => RefreshCause::Age,
            Reason::KeysUnavailable => RefreshCause::Unavailable,
            Reason::KeyUnknown => RefreshCause::UnknownKey,
            _ => return None,
        };
        self.start(keys, cause)
    }

    /// The refresh of a key set that is due because of its age, or missing. Cheap: the ages are looked at once a second.
    pub(crate) fn due(&self) -> Option<KeyRefresh> {
        let now = self.clock.now();
        if now < self.next_check.load(Ordering::Relaxed) {
            return None;
        }
        let due = self.keys.iter().filter(|keys| keys.are_due(now));
        let cause = |keys: &IssuerKeys| match keys.are_usable(now) {
            true => RefreshCause::Age,
            false => RefreshCause::Unavailable,
        };
        let refresh = due.filter_map(|keys| self.start(keys, cause(keys))).next();
        if refresh.is_none() {
            self.next_check.store(now + 1, Ordering::Relaxed);
        }
        refresh
    }

    fn start(&self, keys: &Arc<IssuerKeys>, cause: RefreshCause) -> Option<KeyRefresh> {
        keys.start(cause, self.clock.now()).then(|| {
            KeyRefresh::new(
                Arc::clone(keys),
                self.fetcher.clone(),
                Arc::clone(&self.clock),
            )
        })
    }
}

fn loaded(origin: KeyOrigin, keys: KeySet, clock: &GuardedClock) -> Arc<IssuerKeys> {
    let loaded = IssuerKeys::new(origin);
    loaded.install(keys, clock.now());
    Arc::new(loaded)
}

/// Those of each issuer of each tenant, in the order of [`KeyStore::find`].
fn discovered(policy: &Policy) -> Vec<Arc<IssuerKeys>> {
    let mut tenants: Vec<Option<&Guid>> = match &policy.tenants {
        Tenants::Any => vec![None],
        Tenants::Listed(listed) => {
            let mut tenants: Vec<_> = listed.iter().collect();
            tenants.sort_by_key(|(_, index)| **index);
            tenants
                .into_iter()
                .map(|(tenant, _)| Some(tenant))
                .collect()
        }
    };
    let issuers = |tenant: Option<&Guid>| {
        let issuers = policy
            .issuers
            .iter()
            .map(move |issuer| KeyOrigin::Metadata {
                url: issuer.metadata(tenant),
                issuer: issuer.name(tenant),
            });
        issuers.collect::<Vec<_>>()
    };
    tenants
        .drain(..)
        .flat_map(issuers)
        .map(|origin| Arc::new(IssuerKeys::new(origin)))
        .collect()
}
