//! Keys that can die, and the service that attests them.
use super::entra::{jwt, seconds};
use super::script::Answering;
use super::{Call, Leg, World};
use keybound_attestation::{AttestationFuture, AttestationProvider, AttestationRequest};
use keybound_core::{AttestationToken, Error, ErrorKind, Stage, lock};
use keybound_keys::memory::MemoryKey;
use keybound_keys::{
    BindingKey, KeyError, KeyErrorKind, KeyProvider, KeyStrength, SignatureScheme, SigningCost,
};
use serde_json::json;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

/// Made once: nothing here depends on whose they are.
static POOL: LazyLock<[Arc<MemoryKey>; 2]> =
    LazyLock::new(|| [(); 2].map(|()| Arc::new(MemoryKey::generate().unwrap())));

/// The host's key: the same one at each call, until it dies.
pub(super) struct Keys {
    strength: KeyStrength,
    persistent: bool,
    current: Mutex<Option<Arc<Key>>>,
    pub(super) opened: AtomicUsize,
    made: AtomicUsize,
}

impl Keys {
    pub(super) fn new(strength: KeyStrength, persistent: bool) -> Arc<Self> {
        Arc::new(Self {
            strength,
            persistent,
            current: Mutex::default(),
            opened: AtomicUsize::default(),
            made: AtomicUsize::default(),
        })
    }

    /// The key no longer signs; the next to be opened is another one.
    pub(super) fn kill(&self) {
        if let Some(key) = lock(&self.current).take() {
            key.dead.store(true, Ordering::Relaxed);
        }
    }

    /// Another key takes the place of this one, which goes on signing.
    pub(super) fn replace(&self) {
        if let Some(key) = lock(&self.current).take() {
            key.replaced.store(true, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

impl KeyProvider for Keys {
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
            let number = self.made.fetch_add(1, Ordering::Relaxed);
            Arc::new(Key {
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
struct Key {
    key: Arc<MemoryKey>,
    strength: KeyStrength,
    name: Option<String>,
    dead: AtomicBool,
    replaced: AtomicBool,
}

impl BindingKey for Key {
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
pub(super) struct Attestor(pub(super) Arc<World>);

impl AttestationProvider for Attestor {
    fn attest<'a>(&'a self, _request: AttestationRequest<'a>) -> AttestationFuture<'a> {
        Box::pin(async move {
            let world = &self.0;
            world.record(Call {
                leg: Leg::Attest,
                at: world.elapsed(),
                bypass: false,
                claims: None,
                attestation: None,
                request_id: String::new(),
            });
            let outcome = world.outcome(&Answering {
                leg: Leg::Attest,
                certificate: None,
                resource: None,
            });
            let played = world.play(&outcome, Duration::from_secs(3600)).await;
            if played.is_some() {
                return Err(Error::new(
                    ErrorKind::AttestationFailed,
                    Stage::Attestation,
                    "as the script says",
                ));
            }
            let number = {
                let mut seen = lock(&world.seen);
                seen.attestations += 1;
                seen.attestations
            };
            let ends = world.true_time() + Duration::from_secs_f64(world.setup.attestation_life);
            let token = jwt(&json!({ "n": number, "exp": seconds(ends) }));
            lock(&world.seen).secrets.push(token.clone());
            AttestationToken::new(token)
        })
    }
}
