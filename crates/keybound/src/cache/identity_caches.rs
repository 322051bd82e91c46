use super::IdentityState;
use crate::confidential::AppKey;
use keybound_core::ManagedIdentity;
use std::collections::HashMap;
use std::sync::Arc;

/// Whose caches they are.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum CacheOwner {
    ManagedIdentity(ManagedIdentity),
    /// An app registration whose assertions are tokens of this identity.
    App(ManagedIdentity, Box<AppKey>),
}

/// The caches of each identity. Beyond a limit, caches that no client uses are evicted, the least recently used first.
#[derive(Default)]
pub(super) struct IdentityCaches {
    by_owner: HashMap<CacheOwner, Entry>,
    last_use: u64,
}

struct Entry {
    state: Arc<IdentityState>,
    last_use: u64,
}

impl IdentityCaches {
    /// Returns the caches of an identity, which are created if there are none.
    pub(super) fn of(&mut self, owner: &CacheOwner) -> Arc<IdentityState> {
        self.last_use += 1;
        if !self.by_owner.contains_key(owner) {
            self.evict();
        }
        let entry = self.by_owner.entry(owner.clone()).or_insert_with(|| Entry {
            state: Arc::default(),
            last_use: 0,
        });
        entry.last_use = self.last_use;
        Arc::clone(&entry.state)
    }

    fn evict(&mut self) {
        while self.by_owner.len() >= MAX_IDENTITIES {
            let idle = self
                .by_owner
                .iter()
                .filter(|(_, entry)| Arc::strong_count(&entry.state) == 1)
                .min_by_key(|(_, entry)| entry.last_use)
                .map(|(owner, _)| owner.clone());
            let Some(idle) = idle else {
                return;
            };
            self.by_owner.remove(&idle);
        }
    }
}

const MAX_IDENTITIES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evicts_the_least_recently_used_identity_beyond_the_limit() {
        let mut identities = IdentityCaches::default();
        let in_use = identities.of(&identity(0));
        let first: Vec<_> = (1..MAX_IDENTITIES)
            .map(|number| Arc::downgrade(&identities.of(&identity(number))))
            .collect();
        identities.of(&identity(1));
        for number in MAX_IDENTITIES..MAX_IDENTITIES + 10 {
            identities.of(&identity(number));
        }
        assert!(Arc::ptr_eq(&in_use, &identities.of(&identity(0))));
        let cached: Vec<_> = first.iter().map(|one| one.strong_count() > 0).collect();
        let expected: Vec<_> = (1..MAX_IDENTITIES)
            .map(|number| number == 1 || number > 11)
            .collect();
        assert_eq!(cached, expected);
        assert_eq!(identities.by_owner.len(), MAX_IDENTITIES);
    }

    fn identity(number: usize) -> CacheOwner {
        let id = format!("11111111-2222-4333-8444-{number:012}");
        CacheOwner::ManagedIdentity(ManagedIdentity::client_id(&id).unwrap())
    }
}
