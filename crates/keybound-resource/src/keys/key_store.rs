use super::issuer_keys::{KeyOrigin, Loaded, RefreshCause};
use super::{
    FetchError, IssuerKeys, KeyFetcher, KeyFile, KeyRefresh, KeySet, KeyStatus, SharedKeys,
    VerificationKey,
};
use crate::clock::GuardedClock;
use crate::policy::{Policy, TokenIssuer};
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

/// The keys of all accepted issuers.
pub(crate) struct KeyStore {
    /// Each once.
    sets: Vec<Arc<IssuerKeys>>,
    /// The position of those of each issuer of each tenant; empty if one set is that of all issuers.
    positions: Vec<usize>,
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
    pub(crate) fn new(
        keys: Keys,
        policy: &Policy,
        shared: &SharedKeys,
        clock: &Arc<GuardedClock>,
    ) -> Self {
        let mut store = Self {
            sets: Vec::new(),
            positions: Vec::new(),
            issuers: policy.issuers.len(),
            fetcher: None,
            clock: Arc::clone(clock),
            next_check: AtomicI64::new(i64::MIN),
        };
        let max_age = keys.max_age;
        match keys.source {
            Source::Fixed(keys) => store.sets.push(fixed(keys, max_age, clock)),
            Source::File(path, file) => store.add_each(policy, |issuer, tenant| {
                of_file(&path, &file, issuer.name(tenant), max_age, clock.now())
            }),
            Source::Discovered(fetcher) => {
                store.fetcher = Some(fetcher);
                store.add_each(policy, |issuer, tenant| {
                    let origin = KeyOrigin::Metadata {
                        url: issuer.metadata(tenant),
                        issuer: issuer.name(tenant),
                    };
                    shared.get(origin, max_age)
                });
            }
        }
        store
    }

    /// Adds those of each issuer of each tenant, in the order of [`find`](Self::find).
    fn add_each(
        &mut self,
        policy: &Policy,
        keys: impl Fn(&Issuer, Option<&Guid>) -> Arc<IssuerKeys>,
    ) {
        for tenant in policy.tenants.in_order() {
            for issuer in &policy.issuers {
                let keys = keys(issuer, issuer.only_tenant().or(tenant));
                let is_it = |known: &Arc<IssuerKeys>| known.origin() == keys.origin();
                let position = self.sets.iter().position(is_it);
                self.positions.push(position.unwrap_or(self.sets.len()));
                if position.is_none() {
                    self.sets.push(keys);
                }
            }
        }
    }

    /// The key with this id of an issuer.
    pub(crate) fn find(
        &self,
        issuer: &TokenIssuer,
        id: &str,
        now: i64,
    ) -> Result<FoundKey, (Reason, Arc<IssuerKeys>)> {
        let index = issuer.tenant_index * self.issuers + issuer.issuer;
        let position = self.positions.get(index).copied().unwrap_or_default();
        let keys = &self.sets[position];
        match keys.find(id, now) {
            Ok(key) => Ok(FoundKey {
                key,
                keys: Arc::clone(keys),
            }),
            Err(reason) => Err((reason, Arc::clone(keys))),
        }
    }

    /// Whether at least one issuer has keys, and each of the others has keys or was tried and failed.
    pub(crate) fn is_ready(&self) -> bool {
        let now = self.clock.now();
        let is_usable = |keys: &Arc<IssuerKeys>| keys.are_usable(now);
        let is_decided = |keys: &Arc<IssuerKeys>| is_usable(keys) || keys.have_failed(now);
        self.sets.iter().any(is_usable) && self.sets.iter().all(is_decided)
    }

    /// The state of the keys of each issuer; none for fixed keys, which are those of all issuers.
    pub(crate) fn status(&self) -> Vec<KeyStatus> {
        let now = self.clock.now();
        let status = |keys: &Arc<IssuerKeys>| KeyStatus::new(keys, now);
        self.sets.iter().filter_map(status).collect()
    }

    /// The refresh of keys that a token was refused for, if it may start now.
    pub(crate) fn refresh_for(&self, keys: &Arc<IssuerKeys>, reason: Reason) -> Option<KeyRefresh> {
        match reason {
            Reason::KeysUnavailable => self.refresh_due(keys),
            Reason::KeyUnknown => self.start(keys, RefreshCause::UnknownKey),
            _ => None,
        }
    }

    /// The refresh of a key set that is due because of its age, or missing. Cheap: the ages are looked at once a second.
    pub(crate) fn due(&self) -> Option<KeyRefresh> {
        let now = self.clock.now();
        if now < self.next_check.load(Ordering::Relaxed) {
            return None;
        }
        let due = self.sets.iter().filter(|keys| keys.are_due(now));
        let refresh = due.filter_map(|keys| self.refresh_due(keys)).next();
        if refresh.is_none() {
            self.next_check.store(now + 1, Ordering::Relaxed);
        }
        refresh
    }

    /// All key sets that are due now.
    #[cfg(feature = "tokio")]
    pub(crate) fn all_due(&self) -> Vec<Arc<IssuerKeys>> {
        let now = self.clock.now();
        let due = self.sets.iter().filter(|keys| keys.are_due(now));
        due.cloned().collect()
    }

    /// The refresh of a key set because of its age, or as it is missing, if it may start now.
    pub(crate) fn refresh_due(&self, keys: &Arc<IssuerKeys>) -> Option<KeyRefresh> {
        match keys.are_usable(self.clock.now()) {
            true => self.start(keys, RefreshCause::Age),
            false => self.start(keys, RefreshCause::Unavailable),
        }
    }

    fn start(&self, keys: &Arc<IssuerKeys>, cause: RefreshCause) -> Option<KeyRefresh> {
        let run = keys.start(cause, self.clock.now())?;
        Some(KeyRefresh::new(
            run,
            Arc::clone(keys),
            self.fetcher.clone(),
            Arc::clone(&self.clock),
        ))
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
fn of_file(path: &Path, file: &KeyFile, issuer: String, max_age: i64, now: i64) -> Arc<IssuerKeys> {
    let published = file.issuer(&issuer);
    let origin = KeyOrigin::File {
        path: path.to_owned(),
        issuer,
    };
    let keys = IssuerKeys::new(origin, max_age);
    if let Some(Ok(loaded)) = published.map(|published| published.loaded(now)) {
        keys.install(loaded, now);
    }
    Arc::new(keys)
}

/// In seconds.
const MAX_AGE: i64 = 24 * 3600;
/// Discovered keys are refreshed at this interval.
const MIN_AGE: i64 = 3600;
