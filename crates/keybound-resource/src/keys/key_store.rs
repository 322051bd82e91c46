use super::issuer_keys::{KeyOrigin, Loaded, RefreshCause};
use super::{
    FetchError, IssuerKeys, KeyFetcher, KeyFile, KeyRefresh, KeySet, KeyStatus, VerificationKey,
};
use crate::clock::GuardedClock;
use crate::policy::{Policy, Tenants, TokenIssuer};
use crate::{Issuer, Reason};
use keybound_core::Guid;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// Where a verifier has the issuers' keys from.
#[derive(Debug)]
pub struct Keys {
    source: Source,
    /// In seconds.
    max_age: i64,
}

enum Source {
    Fixed(KeySet),
    File(PathBuf, KeyFile),
    Discovered(Arc<dyn KeyFetcher>),
}

impl Keys {
    /// One key set for all accepted issuers, which does not change and has no age. A key that names no issuer verifies tokens of each of
    /// them.
    pub fn fixed(keys: KeySet) -> Self {
        Self::new(Source::Fixed(keys))
    }

    /// The keys of each issuer in a [`KeyFile`], which is read again every minute and when a token has an unknown key. Their age is counted
    /// from the time in the file at which they were fetched.
    ///
    /// # Errors
    /// If the file cannot be read now, or is no key file.
    pub fn file(path: impl Into<PathBuf>) -> Result<Self, FetchError> {
        let path = path.into();
        let file = KeyFile::read(&path)?;
        Ok(Self::new(Source::File(path, file)))
    }

    /// The keys that each issuer publishes, for each tenant: fetched every hour, and when a token has an unknown key, at most every five
    /// minutes. If that fails, the last ones remain in use. For any tenant, the keys are those of the tenant `common`.
    pub fn discovered(fetcher: impl KeyFetcher) -> Self {
        Self::new(Source::Discovered(Arc::new(fetcher)))
    }

    /// How old the keys may become, since they were fetched from the issuer: at least one hour. Default: 24 hours.
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = i64::try_from(max_age.as_secs())
            .unwrap_or(i64::MAX)
            .max(MIN_AGE);
        self
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
    pub(crate) fn new(keys: Keys, policy: &Policy, clock: &Arc<GuardedClock>) -> Self {
        let max_age = keys.max_age;
        let (keys, fetcher) = match keys.source {
            Source::Fixed(keys) => (vec![fixed(keys, max_age, clock)], None),
            Source::File(path, file) => (of_file(&path, &file, policy, max_age, clock), None),
            Source::Discovered(fetcher) => (discovered(policy, max_age), Some(fetcher)),
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

    /// The state of the keys of each issuer; none for fixed keys, which are those of all issuers.
    pub(crate) fn status(&self) -> Vec<KeyStatus> {
        let now = self.clock.now();
        let status = |keys: &Arc<IssuerKeys>| KeyStatus::new(keys, now);
        self.keys.iter().filter_map(status).collect()
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

fn fixed(keys: KeySet, max_age: i64, clock: &GuardedClock) -> Arc<IssuerKeys> {
    let fixed = IssuerKeys::new(KeyOrigin::Fixed, max_age);
    let now = clock.now();
    fixed.install(
        Loaded {
            keys,
            fetched_at: now,
        },
        now,
    );
    Arc::new(fixed)
}

/// Keys that are missing in the file, or cannot be used, are missing here.
fn of_file(
    path: &Path,
    file: &KeyFile,
    policy: &Policy,
    max_age: i64,
    clock: &GuardedClock,
) -> Vec<Arc<IssuerKeys>> {
    let now = clock.now();
    for_each_issuer(policy, |issuer, tenant| {
        let name = issuer.name(tenant);
        let published = file.issuer(&name);
        let origin = KeyOrigin::File {
            path: path.to_owned(),
            issuer: name,
        };
        let keys = IssuerKeys::new(origin, max_age);
        if let Some(Ok(loaded)) = published.map(|published| published.loaded(now)) {
            keys.install(loaded, now);
        }
        keys
    })
}

fn discovered(policy: &Policy, max_age: i64) -> Vec<Arc<IssuerKeys>> {
    for_each_issuer(policy, |issuer, tenant| {
        let origin = KeyOrigin::Metadata {
            url: issuer.metadata(tenant),
            issuer: issuer.name(tenant),
        };
        IssuerKeys::new(origin, max_age)
    })
}

/// Those of each issuer of each tenant, in the order of [`KeyStore::find`].
fn for_each_issuer(
    policy: &Policy,
    keys: impl Fn(&Issuer, Option<&Guid>) -> IssuerKeys,
) -> Vec<Arc<IssuerKeys>> {
    let tenants: Vec<Option<&Guid>> = match &policy.tenants {
        Tenants::Any => vec![None],
        Tenants::Listed(listed) => {
            let mut tenants: Vec<_> = listed.iter().collect();
            tenants.sort_by_key(|(_, index)| **index);
            let tenants = tenants.into_iter();
            tenants.map(|(tenant, _)| Some(tenant)).collect()
        }
    };
    let of_tenant = |tenant| {
        let issuers = policy.issuers.iter();
        issuers.map(move |issuer| (issuer, tenant))
    };
    let issuers = tenants.into_iter().flat_map(of_tenant);
    issuers
        .map(|(issuer, tenant)| Arc::new(keys(issuer, tenant)))
        .collect()
}

/// In seconds.
const MAX_AGE: i64 = 24 * 3600;
/// Discovered keys are refreshed at this interval.
const MIN_AGE: i64 = 3600;
