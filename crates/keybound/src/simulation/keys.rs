//! Keys that can fail or be replaced, and the service that attests them.
use super::services::{jwt, seconds};
use super::test_host::LibrarySearch;
use super::{Call, Leg, TestHost};
use keybound_attestation::{AttestationFuture, AttestationProvider, AttestationRequest};
use keybound_core::{AttestationToken, Error, ErrorKind, Result, Stage, lock};
use keybound_keys::memory::MemoryKey;
use keybound_keys::{BindingKey, KeyError, KeyProvider, KeyStrength};
use keybound_testing::TestKey;
use serde_json::json;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

/// Generated once, since the generation is slow.
static POOL: LazyLock<[Arc<MemoryKey>; 2]> =
    LazyLock::new(|| [(); 2].map(|()| Arc::new(MemoryKey::generate().unwrap())));

/// Opens the host's key: the same one, until it fails or is replaced.
#[derive(Debug)]
pub(super) struct TestKeyProvider {
    strength: KeyStrength,
    persistent: bool,
    current: Mutex<Option<Arc<TestKey>>>,
    pub(super) opened: AtomicUsize,
    created: AtomicUsize,
}

impl TestKeyProvider {
    pub(super) fn new(strength: KeyStrength, persistent: bool) -> Arc<Self> {
        Arc::new(Self {
            strength,
            persistent,
            current: Mutex::default(),
            opened: AtomicUsize::default(),
            created: AtomicUsize::default(),
        })
    }

    /// Makes the key fail to sign; the next one that is opened is another.
    pub(super) fn kill(&self) {
        if let Some(key) = lock(&self.current).take() {
            key.fail();
        }
    }

    /// Replaces the key; the old one still signs.
    pub(super) fn replace(&self) {
        if let Some(key) = lock(&self.current).take() {
            key.replace();
        }
    }
}

impl KeyProvider for TestKeyProvider {
    fn opens_at_once(&self) -> bool {
        true
    }

    fn strength(&self) -> KeyStrength {
        self.strength
    }

    fn open(&self) -> Result<Arc<dyn BindingKey>, KeyError> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let mut current = lock(&self.current);
        let key = current.get_or_insert_with(|| {
            let number = self.created.fetch_add(1, Ordering::Relaxed);
            let name = self.persistent.then_some("KeyGuardRSAKey");
            let key = TestKey::over(Arc::clone(&POOL[number % POOL.len()]) as _);
            let key = key.with_strength(self.strength);
            Arc::new(key.with_persistent_name(name))
        });
        Ok(Arc::clone(key) as Arc<dyn BindingKey>)
    }
}

/// Attests every key.
#[derive(Debug)]
pub(super) struct Attestor(pub(super) Arc<TestHost>);

impl AttestationProvider for Attestor {
    fn attest<'a>(&'a self, _request: AttestationRequest<'a>) -> AttestationFuture<'a> {
        Box::pin(async move {
            let host = &self.0;
            let call = Call {
                leg: Leg::Attest,
                ..Call::default()
            };
            let response = host.receive(call, Duration::from_secs(3600)).await;
            if !response.is_ok_and(|response| response.scripted().is_none()) {
                return Err(Error::new(
                    ErrorKind::AttestationFailed,
                    Stage::Attestation,
                    "scripted failure",
                ));
            }
            let expires = host.true_time() + Duration::from_secs_f64(host.setup.attestation_life);
            let mut history = lock(&host.history);
            let number = history.secrets.len();
            let token = jwt(&json!({ "n": number, "exp": seconds(expires) }));
            history.secrets.push(token.clone());
            AttestationToken::new(token)
        })
    }

    fn find_library(&self) -> Option<Result<PathBuf>> {
        Some(match self.0.setup.attestation_library? {
            LibrarySearch::Finds => Ok("/usr/lib/attestation.so".into()),
            LibrarySearch::Fails => Err(Error::new(
                ErrorKind::AttestationFailed,
                Stage::Attestation,
                "no library in any place",
            )),
            LibrarySearch::Panics => panic!("the search for the library panics"),
        })
    }
}
