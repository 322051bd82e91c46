use super::issuer_keys::{Loaded, MissingKey};
use super::key_source::{Keys, Source};
use super::refresh_schedule::{Intervals, RefreshSchedule};
use super::refresh_target::RefreshTarget;
use super::{
    IssuerKeys, KeyOrigin, KeyRefresh, KeySet, KeyStatus, RunningRefresh, SharedKeys,
    VerificationKey,
};
use crate::clock::GuardedClock;
use crate::policy::{Policy, TokenIssuer};
use crate::{Issuer, Reason};
use keybound_core::Guid;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// The keys of all accepted issuers.
pub(crate) struct KeyStore {
    source: Source,
    sets: KeySets,
    clock: Arc<GuardedClock>,
    /// When the ages are looked at again, by the monotonic clock.
    next_check: AtomicI64,
}

enum KeySets {
    /// One for all issuers.
    One(Arc<IssuerKeys>),
    PerIssuer {
        /// Each once.
        sets: Vec<Arc<IssuerKeys>>,
        /// The position of those of each issuer of each tenant.
        positions: Vec<usize>,
        /// The number of issuers of a tenant.
        issuers: usize,
    },
}

/// A key, and the keys among which it was found.
pub(crate) struct FoundKey {
    pub(crate) key: Arc<VerificationKey>,
    pub(crate) keys: Arc<IssuerKeys>,
}

/// Why no key was found, and what the request waits for.
pub(crate) struct MissingKeys {
    pub(crate) reason: Reason,
    /// The refresh that was started for it.
    pub(crate) refresh: Option<KeyRefresh>,
    pub(crate) running: Option<RunningRefresh>,
}

impl KeyStore {
    pub(crate) fn new(
        keys: Keys,
        policy: &Policy,
        shared: &SharedKeys,
        clock: &Arc<GuardedClock>,
    ) -> Self {
        let max_age = keys.max_age;
        let sets = match &keys.source {
            Source::Fixed(keys) => KeySets::One(fixed(keys, clock)),
            Source::File(file) => KeySets::new(policy, |issuer, tenant| {
                file.keys(issuer.name(tenant), max_age, clock)
            }),
            Source::Discovered(_) => KeySets::new(policy, |issuer, tenant| {
                let origin = KeyOrigin::Metadata {
                    url: issuer.metadata(tenant),
                    issuer: issuer.name(tenant),
                };
                shared.get(origin, max_age, clock)
            }),
        };
        Self {
            source: keys.source,
            sets,
            clock: Arc::clone(clock),
            next_check: AtomicI64::new(i64::MIN),
        }
    }

    /// The key with this id of an issuer. If there is none, a refresh is started, if it may start now.
    pub(crate) fn find(&self, issuer: &TokenIssuer, id: &str) -> Result<FoundKey, MissingKeys> {
        let keys = self.sets.of(issuer).ok_or(MissingKeys {
            reason: Reason::KeysUnavailable,
            refresh: None,
            running: None,
        })?;
        match keys.find(id) {
            Ok(key) => Ok(FoundKey {
                key,
                keys: Arc::clone(keys),
            }),
            Err(MissingKey {
                reason,
                started,
                running,
            }) => Err(MissingKeys {
                reason,
                refresh: started.and_then(|run| self.refresh(keys, run)),
                running,
            }),
        }
    }

    /// Whether at least one issuer has keys, and each of the others has keys or was tried and failed.
    pub(crate) fn is_ready(&self) -> bool {
        let mut sets = self.sets.iter();
        self.sets.iter().any(|keys| keys.are_usable())
            && sets.all(|keys| keys.are_usable() || keys.have_failed())
    }

    /// The state of the keys of each issuer; none for fixed keys, which are those of all issuers.
    pub(crate) fn status(&self) -> Vec<KeyStatus> {
        let status = |keys: &Arc<IssuerKeys>| KeyStatus::new(keys);
        self.sets.iter().filter_map(status).collect()
    }

    /// The refresh of a key set that is due because of its age, or missing. Cheap: the ages are looked at once a second.
    pub(crate) fn due(&self) -> Option<KeyRefresh> {
        let now = self.clock.read().monotonic;
        if now < self.next_check.load(Ordering::Relaxed) {
            return None;
        }
        let due = self.sets.iter().filter(|keys| keys.are_due());
        let refresh = due.filter_map(|keys| self.refresh_due(keys)).next();
        if refresh.is_none() {
            self.next_check.store(now + 1, Ordering::Relaxed);
        }
        refresh
    }

    /// All key sets that are due now.
    #[cfg(feature = "tokio")]
    pub(crate) fn all_due(&self) -> Vec<Arc<IssuerKeys>> {
        let due = self.sets.iter().filter(|keys| keys.are_due());
        due.cloned().collect()
    }

    /// The refresh of a key set because of its age, or as it is missing, if it may start now.
    pub(crate) fn refresh_due(&self, keys: &Arc<IssuerKeys>) -> Option<KeyRefresh> {
        keys.start_due().and_then(|run| self.refresh(keys, run))
    }

    fn refresh(&self, keys: &Arc<IssuerKeys>, run: u64) -> Option<KeyRefresh> {
        let target = match &self.source {
            // They are never refreshed.
            Source::Fixed(_) => return None,
            Source::File(file) => RefreshTarget::File(Arc::clone(file), Arc::clone(keys.clock())),
            Source::Discovered(fetcher) => {
                RefreshTarget::Issuer(Arc::clone(keys), Arc::clone(fetcher))
            }
        };
        Some(KeyRefresh::new(run, target))
    }
}

impl KeySets {
    /// Those of each issuer of each tenant, in the order of [`of`](Self::of).
    fn new(policy: &Policy, keys: impl Fn(&Issuer, Option<&Guid>) -> Arc<IssuerKeys>) -> Self {
        let mut sets: Vec<Arc<IssuerKeys>> = Vec::new();
        let mut positions = Vec::new();
        for tenant in policy.tenants.in_order() {
            for issuer in &policy.issuers {
                let keys = keys(issuer, issuer.only_tenant().or(tenant));
                let known = sets.iter().position(|known| Arc::ptr_eq(known, &keys));
                positions.push(known.unwrap_or(sets.len()));
                if known.is_none() {
                    sets.push(keys);
                }
            }
        }
        Self::PerIssuer {
            sets,
            positions,
            issuers: policy.issuers.len(),
        }
    }

    fn of(&self, issuer: &TokenIssuer) -> Option<&Arc<IssuerKeys>> {
        match self {
            Self::One(keys) => Some(keys),
            Self::PerIssuer {
                sets,
                positions,
                issuers,
            } => {
                let position = positions.get(issuer.tenant_index * issuers + issuer.issuer)?;
                sets.get(*position)
            }
        }
    }

    fn iter(&self) -> std::slice::Iter<'_, Arc<IssuerKeys>> {
        match self {
            Self::One(keys) => std::slice::from_ref(keys).iter(),
            Self::PerIssuer { sets, .. } => sets.iter(),
        }
    }
}

fn fixed(keys: &KeySet, clock: &Arc<GuardedClock>) -> Arc<IssuerKeys> {
    // Nothing is ever started by the schedule.
    let schedule = RefreshSchedule::new(Intervals::DISCOVERED);
    let fixed = IssuerKeys::new(KeyOrigin::Fixed, i64::MAX, Arc::clone(clock), schedule);
    let loaded = Loaded {
        keys: keys.clone(),
        fetched_at: 0,
    };
    // They have no age.
    fixed.install(loaded, 0);
    Arc::new(fixed)
}
