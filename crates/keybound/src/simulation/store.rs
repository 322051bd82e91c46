//! A store that outlives the clients of a case, and that may hang or panic.
use super::World;
use super::case::Plant;
use super::imds::ENTRA;
use super::keys::Keys;
use super::pki::{self, ISSUER_NAME};
use super::script::Script;
use super::world::{Leg, Services, Setup};
use crate::keys::ProviderChain;
use crate::store::{BindingStore, IssuanceLock, StoreCalls, StoredBinding};
use crate::{
    Attestation, Environment, ErrorKind, KeyRequirements, KeyStrength, ManagedIdentity,
    ManagedIdentityClient, TokenRequest, TokenSource,
};
use futures_util::FutureExt as _;
use keybound_core::{BindingCacheKey, Certificate, lock};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime};

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

    /// Adds a certificate that IMDS did not issue beside every entry.
    pub(super) fn plant(&self, plant: &Plant, now: SystemTime) {
        let issuer = plant.issuer.as_deref().unwrap_or(ISSUER_NAME);
        let after = |days: f64| now + Duration::from_secs_f64(days * 86_400.0);
        let validity = now..after(plant.life);
        let token_end = plant.token_life.map(after);
        for entries in lock(&self.kept).values_mut() {
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

    /// Says of every entry that its key has another name.
    pub(super) fn rename_keys(&self) {
        for entry in lock(&self.kept).values_mut().flatten() {
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
    saved: AtomicUsize,
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
        self.saved.fetch_add(1, Ordering::Relaxed);
    }

    fn remove(&self, _key: &BindingCacheKey, _certificate: &Certificate) {
        self.hang();
    }
}

/// Keeps entries in memory for processes that take turns.
#[derive(Debug)]
struct TurnStore {
    kept: MemoryStore,
    taken: Arc<(Mutex<bool>, Condvar)>,
}

struct Turn(Arc<(Mutex<bool>, Condvar)>);

impl Drop for Turn {
    fn drop(&mut self) {
        *lock(&self.0.0) = false;
        self.0.1.notify_one();
    }
}

impl BindingStore for TurnStore {
    fn load(&self, key: &BindingCacheKey) -> Vec<StoredBinding> {
        self.kept.load(key)
    }

    fn save(&self, key: &BindingCacheKey, entry: &StoredBinding) {
        self.kept.save(key, entry);
    }

    fn remove(&self, key: &BindingCacheKey, certificate: &Certificate) {
        self.kept.remove(key, certificate);
    }

    fn lock_issuance(&self, _key: &BindingCacheKey) -> Option<IssuanceLock> {
        let (taken, changed) = &*self.taken;
        *changed.wait_while(lock(taken), |taken| *taken).ok()? = true;
        Some(Box::new(Turn(Arc::clone(&self.taken))))
    }
}

fn client(
    world: &Arc<World>,
    keys: &Arc<Keys>,
    store: Arc<dyn BindingStore>,
) -> ManagedIdentityClient {
    ManagedIdentityClient::builder()
        .environment(Environment::empty())
        .key_providers(ProviderChain::new(vec![Arc::clone(keys) as _]))
        .clock(Arc::clone(world) as _)
        .binding_store(store)
        .simulated(Services(Arc::clone(world)), 1)
        .build()
        .unwrap()
}

fn request() -> TokenRequest {
    let requirements = KeyRequirements::unattested().min_strength(KeyStrength::Software);
    TokenRequest::pop("https://vault.azure.net", requirements)
}

fn keys() -> Arc<Keys> {
    Keys::new(KeyStrength::Software, true)
}

fn world() -> Arc<World> {
    let setup = Setup {
        persistent_key: true,
        ..Setup::default()
    };
    World::new(setup, Script::default())
}

#[tokio::test]
async fn processes_that_take_turns_have_one_certificate_issued() {
    let store = Arc::new(TurnStore {
        kept: MemoryStore::new(Manner::Memory),
        taken: Arc::default(),
    });
    let world = world();
    let keys = keys();
    // Each with a state of its own, as processes have.
    let processes = (0..8).map(|_| {
        let client = client(&world, &keys, Arc::clone(&store) as _);
        async move { client.acquire_token(&request()).await }
    });
    for token in futures_util::future::join_all(processes).await {
        assert!(token.is_ok(), "{token:?}");
    }
    assert_eq!(world.calls(Leg::Issue).len(), 1);
    assert_eq!(store.kept.entries(), 1);
}

/// On the real clock: the paused one does not go on while a thread is busy.
#[tokio::test]
async fn a_store_that_hangs_holds_an_acquisition_up_for_two_seconds_at_most() {
    let store = Arc::new(HangingStore::default());
    let client = client(&world(), &keys(), Arc::clone(&store) as _);
    let begun = Instant::now();
    let token = client.acquire_token(&request()).await;
    store.let_go();
    assert!(token.is_ok(), "{token:?}");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_store_that_hangs_does_not_outlast_the_deadline_and_is_asked_again_once_it_answers() {
    let mut took = Vec::new();
    let (store, client) = loop {
        let store = Arc::new(HangingStore::default());
        let client = client(&world(), &keys(), Arc::clone(&store) as _);
        let begun = Instant::now();
        let hurried = request().timeout(Duration::from_millis(200));
        let error = client.acquire_token(&hurried).await.unwrap_err();
        took.push(begun.elapsed());
        assert_eq!(error.kind(), ErrorKind::DeadlineReached, "{error:?}");
        if took.last() < Some(&Duration::from_millis(1900)) {
            break (store, client);
        }
        store.let_go();
        // A machine that is busy is given some chances.
        assert!(took.len() < 5, "{took:?}");
    };
    store.let_go();
    let token = client.acquire_token(&request()).await.unwrap();
    assert_eq!(token.source(), TokenSource::IdentityProvider);
    while store.saved.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
}

/// Each call that hangs holds a thread: the runtime has threads for others all the same.
#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_for_good_uses_few_threads_up() {
    let store = Arc::new(HangingStore::default());
    let calls = StoreCalls::default();
    let key = || BindingCacheKey {
        identity: ManagedIdentity::system_assigned(),
        attestation: Attestation::None,
    };
    for _ in 0..100 {
        let look = calls.load(Arc::clone(&store) as _, key());
        assert!(look.now_or_never().is_none_or(|found| found.is_empty()));
    }
    // Each call that is under way holds the store.
    assert_eq!(Arc::strong_count(&store) - 1, 16);
    store.let_go();
}
