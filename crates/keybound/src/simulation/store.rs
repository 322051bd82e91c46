//! Stores that outlive the clients of a case, and that may hang or panic.
use super::case::Plant;
use super::imds::ENTRA;
use super::keys::TestKeyProvider;
use super::pki::{self, ISSUER_NAME};
use super::script::Script;
use super::test_host::{Setup, unattested};
use super::{Leg, TestHost};
use crate::store::{BindingStore, IssuanceLock, StoreCalls, StoredBinding};
use crate::{
    Attestation, ErrorKind, KeyStrength, ManagedIdentity, ManagedIdentityClient, TokenRequest,
    TokenSource,
};
use futures_util::FutureExt as _;
use keybound_core::{BindingCacheKey, Certificate, lock};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime};

/// The behaviour of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StoreBehavior {
    Memory,
    /// In memory, with a lock between processes.
    Locks,
    Panics,
}

/// Stores entries in memory.
#[derive(Debug)]
pub(super) struct MemoryStore {
    behavior: StoreBehavior,
    entries: Mutex<HashMap<BindingCacheKey, Vec<StoredBinding>>>,
    locked: Arc<(Mutex<bool>, Condvar)>,
}

impl MemoryStore {
    pub(super) fn new(behavior: StoreBehavior) -> Self {
        Self {
            behavior,
            entries: Mutex::default(),
            locked: Arc::default(),
        }
    }

    /// The number of entries.
    pub(super) fn len(&self) -> usize {
        lock(&self.entries).values().map(Vec::len).sum()
    }

    /// Adds a certificate that IMDS did not issue beside every entry.
    pub(super) fn plant(&self, plant: &Plant, now: SystemTime) {
        let issuer = plant.issuer.as_deref().unwrap_or(ISSUER_NAME);
        let after = |days: f64| now + Duration::from_secs_f64(days * 86_400.0);
        let validity = now..after(plant.life);
        let token_end = plant.token_life.map(after);
        for entries in lock(&self.entries).values_mut() {
            let planted: Vec<_> = entries
                .iter()
                .map(|entry| StoredBinding {
                    certificate: pki::plant(
                        &entry.certificate,
                        issuer,
                        validity.clone(),
                        token_end,
                    ),
                    ..with_endpoint(entry, plant.endpoint.as_deref())
                })
                .collect();
            entries.extend(planted);
        }
    }

    /// Changes the key name of every entry.
    pub(super) fn rename_keys(&self) {
        for entry in lock(&self.entries).values_mut().flatten() {
            entry.key_name = "another".to_owned();
        }
    }
}

fn with_endpoint(entry: &StoredBinding, origin: Option<&str>) -> StoredBinding {
    let mut entry = entry.clone();
    if let Some(origin) = origin {
        entry.token_endpoint = entry.token_endpoint.replace(ENTRA, origin);
        entry.endpoint = origin.to_owned();
    }
    entry
}

impl BindingStore for MemoryStore {
    fn load(&self, key: &BindingCacheKey) -> Vec<StoredBinding> {
        assert_ne!(self.behavior, StoreBehavior::Panics, "scripted failure");
        lock(&self.entries).get(key).cloned().unwrap_or_default()
    }

    fn save(&self, key: &BindingCacheKey, entry: &StoredBinding) {
        assert_ne!(self.behavior, StoreBehavior::Panics, "scripted failure");
        lock(&self.entries)
            .entry(key.clone())
            .or_default()
            .insert(0, entry.clone());
    }

    fn remove(&self, key: &BindingCacheKey, certificate: &Certificate) {
        assert_ne!(self.behavior, StoreBehavior::Panics, "scripted failure");
        if let Some(entries) = lock(&self.entries).get_mut(key) {
            entries.retain(|entry| entry.certificate != *certificate);
        }
    }

    fn lock_issuance(&self, _key: &BindingCacheKey) -> Option<IssuanceLock> {
        if self.behavior != StoreBehavior::Locks {
            return None;
        }
        let (locked, changed) = &*self.locked;
        *changed.wait_while(lock(locked), |locked| *locked).ok()? = true;
        Some(Box::new(Lock(Arc::clone(&self.locked))))
    }
}

/// A store whose calls hang until it is released.
#[derive(Debug, Default)]
pub(super) struct HangingStore {
    released: Mutex<bool>,
    changed: Condvar,
    saved: AtomicUsize,
}

impl HangingStore {
    fn release(&self) {
        *lock(&self.released) = true;
        self.changed.notify_all();
    }

    fn hang(&self) {
        let guard = lock(&self.released);
        drop(self.changed.wait_while(guard, |released| !*released));
    }
}

impl BindingStore for HangingStore {
    fn load(&self, _key: &BindingCacheKey) -> Vec<StoredBinding> {
        self.hang();
        Vec::new()
    }

    fn save(&self, _key: &BindingCacheKey, _entry: &StoredBinding) {
        self.hang();
        self.saved.fetch_add(1, Ordering::Relaxed);
    }

    fn remove(&self, _key: &BindingCacheKey, _certificate: &Certificate) {
        self.hang();
    }
}

/// The lock between processes.
struct Lock(Arc<(Mutex<bool>, Condvar)>);

impl Drop for Lock {
    fn drop(&mut self) {
        *lock(&self.0.0) = false;
        self.0.1.notify_one();
    }
}

fn client(
    host: &Arc<TestHost>,
    keys: &Arc<TestKeyProvider>,
    store: Arc<dyn BindingStore>,
) -> ManagedIdentityClient {
    host.client_builder(Arc::clone(keys) as _, 1)
        .persistence(true)
        .binding_store(store)
        .build()
        .unwrap()
}

fn request() -> TokenRequest {
    unattested("https://vault.azure.net")
}

fn keys() -> Arc<TestKeyProvider> {
    TestKeyProvider::new(KeyStrength::Software, true)
}

fn host() -> Arc<TestHost> {
    let setup = Setup {
        persistent_key: true,
        ..Setup::default()
    };
    TestHost::new(setup, Script::default())
}

#[tokio::test]
async fn processes_with_a_lock_mint_one_certificate() {
    let store = Arc::new(MemoryStore::new(StoreBehavior::Locks));
    let host = host();
    let keys = keys();
    // Each has its own state, as processes have.
    let processes = (0..8).map(|_| {
        let client = client(&host, &keys, Arc::clone(&store) as _);
        async move { client.acquire_token(&request()).await }
    });
    for token in futures_util::future::join_all(processes).await {
        assert!(token.is_ok(), "{token:?}");
    }
    assert_eq!(host.calls(Leg::Issue).len(), 1);
    assert_eq!(store.len(), 1);
}

/// On the real clock: the paused one does not advance while a thread is busy.
#[tokio::test]
async fn hanging_store_delays_an_acquisition_by_two_seconds() {
    let store = Arc::new(HangingStore::default());
    let client = client(&host(), &keys(), Arc::clone(&store) as _);
    let start = Instant::now();
    let token = client.acquire_token(&request()).await;
    store.release();
    assert!(token.is_ok(), "{token:?}");
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn hanging_store_does_not_exceed_the_deadline_and_is_used_again_later() {
    let mut durations = Vec::new();
    let (store, client) = loop {
        let store = Arc::new(HangingStore::default());
        let client = client(&host(), &keys(), Arc::clone(&store) as _);
        let start = Instant::now();
        let short = request().timeout(Duration::from_millis(200));
        let error = client.acquire_token(&short).await.unwrap_err();
        durations.push(start.elapsed());
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error:?}");
        if durations.last() < Some(&Duration::from_millis(1900)) {
            break (store, client);
        }
        store.release();
        // Retried on a busy machine.
        assert!(durations.len() < 5, "{durations:?}");
    };
    store.release();
    let token = client.acquire_token(&request()).await.unwrap();
    assert_eq!(token.source(), TokenSource::IdentityProvider);
    while store.saved.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
}

/// Each hanging call occupies a thread of the runtime; their number is limited.
#[tokio::test(start_paused = true)]
async fn hanging_store_occupies_few_threads() {
    let store = Arc::new(HangingStore::default());
    let calls = StoreCalls::default();
    let key = || BindingCacheKey {
        identity: ManagedIdentity::system_assigned(),
        attestation: Attestation::None,
    };
    for _ in 0..100 {
        let load = calls.load(Arc::clone(&store) as _, key());
        assert!(load.now_or_never().is_none_or(|found| found.is_err()));
    }
    // Each call in progress holds a reference to the store.
    assert_eq!(Arc::strong_count(&store) - 1, 16);
    store.release();
}
