//! A store that outlives the clients of a case, and that may hang or panic.
use super::World;
use super::keys::Keys;
use super::script::Script;
use super::world::{Services, Setup};
use crate::state::lock;
use crate::store::{BindingStore, StoredBinding};
use crate::{Environment, KeyStrength, ManagedIdentityClient, Pop, ProviderChain, TokenRequest};
use keybound_core::{BindingCacheKey, Certificate};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

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

/// On the real clock: the paused one does not go on while a thread is busy.
#[tokio::test]
async fn a_store_that_hangs_holds_an_acquisition_up_for_two_seconds_at_most() {
    let store = Arc::new(HangingStore::default());
    let world = World::new(
        Setup {
            persistent_key: true,
            ..Setup::default()
        },
        Script::default(),
    );
    let keys = Keys::new(KeyStrength::Software, true);
    let client = ManagedIdentityClient::builder()
        .environment(Environment::empty())
        .key_providers(ProviderChain::new(vec![keys as _]))
        .clock(Arc::clone(&world) as _)
        .binding_store(Arc::clone(&store) as _)
        .simulated(Services(world), 1)
        .build()
        .unwrap();
    let begun = Instant::now();
    let pop = Pop::unattested().min_strength(KeyStrength::Software);
    let request = TokenRequest::new("https://vault.azure.net").proof_of_possession(pop);
    let token = client.acquire_token(request).await;
    store.let_go();
    assert!(token.is_ok(), "{token:?}");
    assert!(begun.elapsed() < Duration::from_secs(10));
}
