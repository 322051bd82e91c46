//! A key whose operations hang: it occupies one thread and returns errors, and does not block the runtime.
use super::script::Script;
use super::test_host::{Services, Setup, TestHost};
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

/// Opens keys that hang until the sender of `release` is dropped.
#[derive(Debug)]
struct HangingKeyProvider {
    key: Arc<MemoryKey>,
    opened: AtomicUsize,
    signing: Arc<Signing>,
    gate: Option<KeyGate>,
    opening_hangs: bool,
}

#[derive(Debug)]
struct Signing {
    started: AtomicUsize,
    starts: UnboundedSender<()>,
    release: Mutex<Receiver<()>>,
}

impl KeyProvider for HangingKeyProvider {
    fn strength(&self) -> KeyStrength {
        KeyStrength::Hardware
    }

    fn open(&self) -> Result<Arc<dyn BindingKey>, KeyError> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        if self.opening_hangs {
            let _ = self.signing.starts.send(());
            let _ = self.signing.release.lock().unwrap().recv();
        }
        Ok(Arc::new(HangingKey {
            key: Arc::clone(&self.key),
            signing: Arc::clone(&self.signing),
            gate: self.gate.clone(),
        }))
    }
}

/// Its signing cost is the default, [Slow](keybound_keys::SigningCost::Slow).
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
        self.signing.started.fetch_add(1, Ordering::Relaxed);
        let _ = self.signing.starts.send(());
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

struct Fixture {
    provider: Arc<HangingKeyProvider>,
    client: ManagedIdentityClient,
    starts: UnboundedReceiver<()>,
    /// Dropped with the fixture, which releases the threads.
    _release: Sender<()>,
}

impl Fixture {
    fn new(gate: Option<KeyGate>) -> Self {
        Self::with(gate, false)
    }

    fn with(gate: Option<KeyGate>, opening_hangs: bool) -> Self {
        let (release, released) = channel();
        let (start, starts) = unbounded_channel();
        let provider = Arc::new(HangingKeyProvider {
            key: Arc::new(MemoryKey::generate().unwrap()),
            opened: AtomicUsize::default(),
            signing: Arc::new(Signing {
                started: AtomicUsize::default(),
                starts: start,
                release: Mutex::new(released),
            }),
            gate,
            opening_hangs,
        });
        let host = TestHost::new(Setup::default(), Script::default());
        let client = ManagedIdentityClient::builder()
            .environment(Environment::empty())
            .key_providers(ProviderChain::new(vec![Arc::clone(&provider) as _]))
            .clock(Arc::clone(&host) as _)
            .persistence(false)
            .simulated(Services(host), 1)
            .build()
            .unwrap();
        Self {
            provider,
            client,
            starts,
            _release: release,
        }
    }

    fn started(&self) -> usize {
        self.provider.signing.started.load(Ordering::Relaxed)
    }
}

fn request() -> TokenRequest {
    let requirements = KeyRequirements::unattested().min_strength(KeyStrength::Software);
    TokenRequest::pop("https://vault.azure.net", requirements).timeout(Duration::from_secs(30))
}

#[test]
fn hanging_key_occupies_one_thread_with_any_number_of_callers() {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(8)
        .build()
        .unwrap();
    runtime.block_on(async {
        let request = request();
        let mut fixture = Fixture::new(None);
        let mut starts = std::mem::replace(&mut fixture.starts, unbounded_channel().1);
        tokio::select! {
            result = fixture.client.acquire_token(&request) => panic!("{result:?}"),
            started = starts.recv() => started.unwrap(),
        }
        for _ in 0..300 {
            // Each sends its request to IMDS, waits for the key, and is dropped.
            tokio::select! {
                biased;
                result = fixture.client.acquire_token(&request) => panic!("{result:?}"),
                () = yield_often() => {}
            }
        }
        assert_eq!(fixture.started(), 1);
        assert_eq!(fixture.provider.opened.load(Ordering::Relaxed), 1);
        // The runtime still runs other work.
        assert_eq!(tokio::task::spawn_blocking(|| 7).await.unwrap(), 7);
    });
}

/// Yields often enough for a caller that does not wait for a thread.
async fn yield_often() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn hanging_key_is_reported_and_not_opened_again() {
    let request = request();
    let mut fixture = Fixture::new(Some(KeyGate::new(Duration::ZERO)));
    let mut starts = std::mem::replace(&mut fixture.starts, unbounded_channel().1);
    tokio::select! {
        result = fixture.client.acquire_token(&request) => panic!("{result:?}"),
        started = starts.recv() => started.unwrap(),
    }
    for _ in 0..3 {
        let error = fixture.client.acquire_token(&request).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.stage()),
            (ErrorKind::KeyFailed, Stage::Key)
        );
        assert!(error.to_string().contains("the key hangs"), "{error}");
    }
    assert_eq!(fixture.started(), 1);
    assert_eq!(fixture.provider.opened.load(Ordering::Relaxed), 1);
}

#[test]
fn hanging_key_provider_occupies_one_thread_outside_the_runtime() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut fixture = runtime.block_on(async { Fixture::with(None, true) });
    runtime.block_on(async {
        let request = request();
        for round in 0..100 {
            tokio::select! {
                biased;
                result = fixture.client.acquire_token(&request) => panic!("{result:?}"),
                started = fixture.starts.recv(), if round == 0 => started.unwrap(),
                () = yield_often(), if round > 0 => {}
            }
        }
    });
    assert_eq!(fixture.provider.opened.load(Ordering::Relaxed), 1);
    let (done, is_done) = channel();
    std::thread::spawn(move || {
        drop(runtime);
        done.send(()).unwrap();
    });
    // The key is released only after that.
    assert_eq!(is_done.recv_timeout(Duration::from_secs(60)), Ok(()));
}
