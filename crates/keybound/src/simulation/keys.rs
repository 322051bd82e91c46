//! Keys that can fail or be replaced, and the service that attests them.
use super::entra::{jwt, seconds};
use super::script::RequestContext;
use super::{Call, Leg, TestHost};
use keybound_attestation::{AttestationFuture, AttestationProvider, AttestationRequest};
use keybound_core::{AttestationToken, Error, ErrorKind, Stage, lock};
use keybound_keys::memory::MemoryKey;
use keybound_keys::{
    BindingKey, KeyError, KeyErrorKind, KeyProvider, KeyStrength, SignatureScheme, SigningCost,
};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

/// Generated once, since the generation is slow.
static POOL: LazyLock<[Arc<MemoryKey>; 2]> =
    LazyLock::new(|| [(); 2].map(|()| Arc::new(MemoryKey::generate().unwrap())));

/// Opens the host's key: the same one, until it fails or is replaced.
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
            key.dead.store(true, Ordering::Relaxed);
        }
    }

    /// Replaces the key; the old one still signs.
    pub(super) fn replace(&self) {
        if let Some(key) = lock(&self.current).take() {
            key.replaced.store(true, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for TestKeyProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestKeyProvider").finish_non_exhaustive()
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
            Arc::new(TestKey {
                key: Arc::clone(&POOL[number % POOL.len()]),
                strength: self.strength,
                name: self.persistent.then(|| "KeyGuardRSAKey".to_owned()),
                dead: AtomicBool::new(false),
                replaced: AtomicBool::new(false),
            })
        });
        Ok(Arc::clone(key) as Arc<dyn BindingKey>)
    }
}

#[derive(Debug)]
struct TestKey {
    key: Arc<MemoryKey>,
    strength: KeyStrength,
    name: Option<String>,
    dead: AtomicBool,
    replaced: AtomicBool,
}

impl BindingKey for TestKey {
    fn public_key_der(&self) -> &[u8] {
        self.key.public_key_der()
    }

    fn sign(&self, scheme: SignatureScheme, digest: &[u8]) -> Result<Vec<u8>, KeyError> {
        if self.dead.load(Ordering::Relaxed) {
            return Err(KeyError::new(KeyErrorKind::Failed, "the key is gone"));
        }
        self.key.sign(scheme, digest)
    }

    fn strength(&self) -> KeyStrength {
        self.strength
    }

    fn id(&self) -> &str {
        self.key.id()
    }

    fn persistent_name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn is_current(&self) -> bool {
        !self.replaced.load(Ordering::Relaxed)
    }

    fn signing_cost(&self) -> SigningCost {
        SigningCost::Quick
    }
}

/// Attests every key.
#[derive(Debug)]
pub(super) struct Attestor(pub(super) Arc<TestHost>);

impl AttestationProvider for Attestor {
    fn attest<'a>(&'a self, _request: AttestationRequest<'a>) -> AttestationFuture<'a> {
        Box::pin(async move {
            let host = &self.0;
            host.record(Call {
                leg: Leg::Attest,
                at: host.elapsed(),
                bypass: false,
                claims: None,
                attestation: None,
                request_id: String::new(),
                query: BTreeMap::new(),
            });
            let response = host.response(&RequestContext {
                leg: Leg::Attest,
                certificate: None,
                resource: None,
            });
            let failure = host.respond(&response, Duration::from_secs(3600)).await;
            if failure.is_some() {
                return Err(Error::new(
                    ErrorKind::AttestationFailed,
                    Stage::Attestation,
                    "scripted failure",
                ));
            }
            let number = {
                let mut history = lock(&host.history);
                history.attestations += 1;
                history.attestations
            };
            let expires = host.true_time() + Duration::from_secs_f64(host.setup.attestation_life);
            let token = jwt(&json!({ "n": number, "exp": seconds(expires) }));
            lock(&host.history).secrets.push(token.clone());
            AttestationToken::new(token)
        })
    }
}
