use super::IdentityState;
use keybound_core::ManagedIdentity;
use std::collections::HashMap;
use std::sync::Arc;

/// The identities that are remembered. Beyond a number of them, those go that no client has, the one first that was asked
/// for longest ago.
#[derive(Default)]
pub(super) struct Identities {
    kept: HashMap<ManagedIdentity, Kept>,
    last_use: u64,
}

struct Kept {
    state: Arc<IdentityState>,
    last_use: u64,
}

impl Identities {
    /// What is remembered of an identity.
    pub(super) fn of(&mut self, identity: &ManagedIdentity) -> Arc<IdentityState> {
        self.last_use += 1;
        if !self.kept.contains_key(identity) {
            self.make_room();
        }
        let kept = self.kept.entry(identity.clone()).or_insert_with(|| Kept {
            state: Arc::default(),
            last_use: 0,
        });
        kept.last_use = self.last_use;
        Arc::clone(&kept.state)
    }

    fn make_room(&mut self) {
        while self.kept.len() >= MOST_IDENTITIES {
            let idle = self
                .kept
                .iter()
                .filter(|(_, kept)| Arc::strong_count(&kept.state) == 1)
                .min_by_key(|(_, kept)| kept.last_use)
                .map(|(identity, _)| identity.clone());
            let Some(idle) = idle else {
                return;
            };
            self.kept.remove(&idle);
        }
    }
}

const MOST_IDENTITIES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_bound_the_identity_goes_that_was_idle_for_longest() {
        let mut identities = Identities::default();
        let in_use = identities.of(&identity(0));
        let first: Vec<_> = (1..MOST_IDENTITIES)
            .map(|number| Arc::downgrade(&identities.of(&identity(number))))
            .collect();
        identities.of(&identity(1));
        for number in MOST_IDENTITIES..MOST_IDENTITIES + 10 {
            identities.of(&identity(number));
        }
        assert!(Arc::ptr_eq(&in_use, &identities.of(&identity(0))));
        let kept: Vec<_> = first.iter().map(|one| one.strong_count() > 0).collect();
        let expected: Vec<_> = (1..MOST_IDENTITIES)
            .map(|number| number == 1 || number > 11)
            .collect();
        assert_eq!(kept, expected);
        assert_eq!(identities.kept.len(), MOST_IDENTITIES);
    }

    fn identity(number: usize) -> ManagedIdentity {
        ManagedIdentity::client_id(&format!("11111111-2222-4333-8444-{number:012}")).unwrap()
    }
}
