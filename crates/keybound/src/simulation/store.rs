//! A store that outlives the clients of a case, and that may hang or panic.
use crate::state::lock;
use crate::store::{BindingStore, StoredBinding};
use keybound_core::{BindingCacheKey, Certificate};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Condvar, Mutex};

/// How a store behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Manner {
    Memory,
    Panics,
}

/// Keeps entries in memory.
#[derive(Debug)]
pub(super) struct MemoryStore {
    manner: Manner,
    kept: Mutex<HashMap<BindingCacheKey, Vec<StoredBinding>>>,
}

impl MemoryStore {
    pub(super) fn new(manner: Manner) -> Self {
        Self {
            manner,
            kept: Mutex::default(),
        }
    }

    /// All entries.
    pub(super) fn entries(&self) -> usize {
        lock(&self.kept).values().map(Vec::len).sum()
    }

    /// Says of every entry that its key has another name.
    pub(super) fn rename_keys(&self) {
        for entry in lock(&self.kept).values_mut().flatten() {
            entry.key_name = "another".to_owned();
        }
    }
}

impl BindingStore for MemoryStore {
    fn load(&self, key: &BindingCacheKey) -> Vec<StoredBinding> {
        assert_ne!(self.manner, Manner::Panics, "as the case says");
        lock(&self.kept).get(key).cloned().unwrap_or_default()
    }

    fn save(&self, key: &BindingCacheKey, entry: &StoredBinding) {
        assert_ne!(self.manner, Manner::Panics, "as the case says");
        lock(&self.kept)
            .entry(key.clone())
            .or_default()
            .insert(0, entry.clone());
    }

    fn remove(&self, key: &BindingCacheKey, certificate: &Certificate) {
        assert_ne!(self.manner, Manner::Panics, "as the case says");
        if let Some(entries) = lock(&self.kept).get_mut(key) {
            entries.retain(|entry| entry.certificate != *certificate);
        }
    }
}

/// Says nothing until it is let go.
#[derive(Debug, Default)]
pub(super) struct HangingStore {
    let_go: Mutex<bool>,
    changed: Condvar,
}

impl HangingStore {
    pub(super) fn let_go(&self) {
        *lock(&self.let_go) = true;
        self.changed.notify_all();
    }

    fn hang(&self) {
        let guard = lock(&self.let_go);
        drop(self.changed.wait_while(guard, |let_go| !*let_go));
    }
}

impl BindingStore for HangingStore {
    fn load(&self, _key: &BindingCacheKey) -> Vec<StoredBinding> {
        self.hang();
        Vec::new()
    }

    fn save(&self, _key: &BindingCacheKey, _entry: &StoredBinding) {
        self.hang();
    }

    fn remove(&self, _key: &BindingCacheKey, _certificate: &Certificate) {
        self.hang();
    }
}
