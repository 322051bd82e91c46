//! A key whose operations do not return: it costs one thread and an error, never the program's runtime.
use super::script::Script;
use super::world::{Services, Setup, World};
use crate::keys::{BindingKey, KeyError, KeyProvider, ProviderChain, SignatureScheme};
use crate::{
    Environment, ErrorKind, KeyRequirements, KeyStrength, ManagedIdentityClient, Stage,
    TokenRequest,
};
use keybound_keys::KeyGate;
use keybound_keys::memory::MemoryKey;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Opens keys that hang until the other end of `release` is dropped.
#[derive(Debug)]
struct Hanging {
    key: Arc<MemoryKey>,
    opened: AtomicUsize,
    signing: Arc<Signing>,
    gate: Option<KeyGate>,
    opening_hangs: bool,
}

#[derive(Debug)]
struct Signing {
    begun: AtomicUsize,
    begins: UnboundedSender<()>,
    release: Mutex<Receiver<()>>,
}

impl KeyProvider for Hanging {
    fn strength(&self) -> KeyStrength {
        KeyStrength::Hardware
    }

    fn open(&self) -> Result<Arc<dyn BindingKey>, KeyError> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        if self.opening_hangs {
            let _ = self.signing.begins.send(());
            let _ = self.signing.release.lock().unwrap().recv();
        }
        Ok(Arc::new(HangingKey {
            key: Arc::clone(&self.key),
            signing: Arc::clone(&self.signing),
            gate: self.gate.clone(),
        }))
    }
}

/// [Slow](keybound_keys::SigningCost::Slow), as keys are unless they say otherwise.
#[derive(Debug)]
struct HangingKey {
    key: Arc<MemoryKey>,
    signing: Arc<Signing>,
    gate: Option<KeyGate>,
}

impl BindingKey for HangingKey {
    fn public_key_der(&self) -> &[u8] {
        self.key.public_key_der()
    }

    fn sign(&self, scheme: SignatureScheme, digest: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.signing.begun.fetch_add(1, Ordering::Relaxed);
        let _ = self.signing.begins.send(());
        let _ = self.signing.release.lock().unwrap().recv();
        self.key.sign(scheme, digest)
    }

    fn strength(&self) -> KeyStrength {
        KeyStrength::Hardware
    }

    fn id(&self) -> &str {
        self.key.id()
    }

    fn gate(&self) -> Option<&KeyGate> {
        self.gate.as_ref()
    }
}

struct Scene {
    provider: Arc<Hanging>,
    client: ManagedIdentityClient,
    begins: UnboundedReceiver<()>,
    /// Dropped with the scene: the threads end.
    _release: Sender<()>,
}

impl Scene {
    fn new(gate: Option<KeyGate>) -> Self {
        Self::with(gate, false)
    }

    fn with(gate: Option<KeyGate>, opening_hangs: bool) -> Self {
        let (release, released) = channel();
        let (begin, begins) = unbounded_channel();
        let provider = Arc::new(Hanging {
            key: Arc::new(MemoryKey::generate().unwrap()),
            opened: AtomicUsize::default(),
            signing: Arc::new(Signing {
                begun: AtomicUsize::default(),
                begins: begin,
                release: Mutex::new(released),
            }),
            gate,
            opening_hangs,
        });
        let world = World::new(Setup::default(), Script::default());
        let client = ManagedIdentityClient::builder()
            .environment(Environment::empty())
            .key_providers(ProviderChain::new(vec![Arc::clone(&provider) as _]))
            .clock(Arc::clone(&world) as _)
            .persistence(false)
            .simulated(Services(world), 1)
            .build()
            .unwrap();
        Self {
            provider,
            client,
            begins,
            _release: release,
        }
    }

    fn begun(&self) -> usize {
        self.provider.signing.begun.load(Ordering::Relaxed)
    }
}

fn request() -> TokenRequest {
    let requirements = KeyRequirements::unattested().min_strength(KeyStrength::Software);
    TokenRequest::pop("https://vault.azure.net", requirements).timeout(Duration::from_secs(30))
}

#[test]
fn a_key_that_hangs_costs_one_thread_however_many_callers_give_up() {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(8)
        .build()
        .unwrap();
    runtime.block_on(async {
        let request = request();
        let mut scene = Scene::new(None);
        let mut begins = std::mem::replace(&mut scene.begins, unbounded_channel().1);
        tokio::select! {
            got = scene.client.acquire_token(&request) => panic!("{got:?}"),
            begun = begins.recv() => begun.unwrap(),
        }
        for _ in 0..300 {
            // Each asks IMDS, comes to the key, and gives up.
            tokio::select! {
                biased;
                got = scene.client.acquire_token(&request) => panic!("{got:?}"),
                () = some_turns() => {}
            }
        }
        assert_eq!(scene.begun(), 1);
        assert_eq!(scene.provider.opened.load(Ordering::Relaxed), 1);
        // The program's own work goes on.
        assert_eq!(tokio::task::spawn_blocking(|| 7).await.unwrap(), 7);
    });
}

/// Enough for a caller that does not wait for a thread.
async fn some_turns() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_key_that_hangs_is_an_error_that_says_so_and_is_not_opened_again() {
    let request = request();
    let mut scene = Scene::new(Some(KeyGate::new(Duration::ZERO)));
    let mut begins = std::mem::replace(&mut scene.begins, unbounded_channel().1);
    tokio::select! {
        got = scene.client.acquire_token(&request) => panic!("{got:?}"),
        begun = begins.recv() => begun.unwrap(),
    }
    for _ in 0..3 {
        let error = scene.client.acquire_token(&request).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.stage()),
            (ErrorKind::KeyFailed, Stage::Key)
        );
        assert!(error.to_string().contains("the key hangs"), "{error}");
    }
    assert_eq!(scene.begun(), 1);
    assert_eq!(scene.provider.opened.load(Ordering::Relaxed), 1);
}

#[test]
fn a_key_provider_that_hangs_costs_one_thread_and_none_of_the_runtime() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut scene = runtime.block_on(async { Scene::with(None, true) });
    runtime.block_on(async {
        let request = request();
        for round in 0..100 {
            tokio::select! {
                biased;
                got = scene.client.acquire_token(&request) => panic!("{got:?}"),
                begun = scene.begins.recv(), if round == 0 => begun.unwrap(),
                () = some_turns(), if round > 0 => {}
            }
        }
    });
    assert_eq!(scene.provider.opened.load(Ordering::Relaxed), 1);
    let (ended, has_ended) = channel();
    std::thread::spawn(move || {
        drop(runtime);
        ended.send(()).unwrap();
    });
    // The key is released only afterwards.
    assert_eq!(has_ended.recv_timeout(Duration::from_secs(60)), Ok(()));
}
