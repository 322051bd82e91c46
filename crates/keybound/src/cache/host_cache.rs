use super::DualTime;
use crate::acquire::HostFacts;
use crate::single_flight::SingleFlight;
use keybound_core::lock;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What probes of the host found, by whether the operator disabled managed identity v2: clients that share a state may differ in it.
#[derive(Default)]
pub(crate) struct HostCache {
    facts: Mutex<HashMap<bool, Entry>>,
    pub(crate) flights: SingleFlight<bool, Arc<HostFacts>>,
}

struct Entry {
    facts: Arc<HostFacts>,
    /// `None`: as long as the cache.
    until: Option<DualTime>,
}

impl HostCache {
    pub(crate) fn get(&self, v2_disabled: bool, now: DualTime) -> Option<Arc<HostFacts>> {
        let facts = lock(&self.facts);
        let entry = facts.get(&v2_disabled)?;
        let is_fresh = entry.until.is_none_or(|until| !until.has_passed(now));
        is_fresh.then(|| Arc::clone(&entry.facts))
    }

    /// Caches what was found; for a short time if a request failed.
    pub(crate) fn put(&self, v2_disabled: bool, facts: &Arc<HostFacts>, now: DualTime) {
        let entry = Entry {
            facts: Arc::clone(facts),
            until: facts.has_failed().then(|| now.after(FAILURE_LIFE)),
        };
        lock(&self.facts).insert(v2_disabled, entry);
    }
}

/// As in MSAL.
const FAILURE_LIFE: Duration = Duration::from_secs(30);
