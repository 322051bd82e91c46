//! A key whose operations hang: it occupies one thread and returns errors, and does not block the runtime.
use super::script::Script;
use super::test_host::{Setup, TestHost, unattested};
use crate::keys::{BindingKey, KeyError, KeyProvider};
use crate::{ErrorKind, KeyStrength, ManagedIdentityClient, Stage, TokenRequest};
use keybound_core::lock;
use keybound_keys::{KeyGate, SigningCost};
use keybound_testing::{FixedKeyProvider, TestKey, shared_key};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Hangs until the other side of `release` is dropped.
#[derive(Debug)]
struct Hang {
    starts: UnboundedSender<()>,
    release: Mutex<Receiver<()>>,
}

impl Hang {
    fn wait(&self) {
        let _ = self.starts.send(());
        let _ = lock(&self.release).recv();
    }
}

/// A provider that hangs when it opens the key.
#[derive(Debug)]
struct HangingKeyProvider(Arc<FixedKeyProvider>, Arc<Hang>);

impl KeyProvider for HangingKeyProvider {
    fn strength(&self) -> KeyStrength {
        self.0.strength()
    }

    fn open(&self) -> Result<Arc<dyn BindingKey>, KeyError> {
        let key = self.0.open();
        self.1.wait();
        key
    }
}

struct Fixture {
    key: Arc<TestKey>,
    provider: Arc<FixedKeyProvider>,
    client: ManagedIdentityClient,
    starts: UnboundedReceiver<()>,
    /// Dropped with the fixture, which releases the threads.
    _release: Sender<()>,
}

impl Fixture {
    /// With a key that hangs when it signs.
    fn new(gate: Option<KeyGate>) -> Self {
        Self::with(gate, |provider, _| provider)
    }

    fn with(
        gate: Option<KeyGate>,
        provider: impl FnOnce(Arc<FixedKeyProvider>, Arc<Hang>) -> Arc<dyn KeyProvider>,
    ) -> Self {
        let (release, released) = channel();
        let (start, starts) = unbounded_channel();
        let hang = Arc::new(Hang {
            starts: start,
            release: Mutex::new(released),
        });
        let signing = Arc::clone(&hang);
        let key = TestKey::new()
            .with_strength(KeyStrength::Hardware)
            .with_signing_cost(SigningCost::Slow)
            .with_gate(gate)
            .with_sign(move |scheme, digest| {
                signing.wait();
                shared_key().sign(scheme, digest)
            });
        let key = Arc::new(key);
        let keys = Arc::new(FixedKeyProvider::new(Arc::clone(&key) as _));
        let host = TestHost::new(Setup::default(), Script::default());
        let client = host.client_builder(provider(Arc::clone(&keys), hang), 1);
        Self {
            key,
            provider: keys,
            client: client.build().unwrap(),
            starts,
            _release: release,
        }
    }
}

fn request() -> TokenRequest {
    unattested("https://vault.azure.net").timeout(Duration::from_secs(30))
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
        assert_eq!(fixture.key.signatures(), 1);
        assert_eq!(fixture.provider.opened(), 1);
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
    assert_eq!(fixture.key.signatures(), 1);
    assert_eq!(fixture.provider.opened(), 1);
}

#[test]
fn hanging_key_provider_occupies_one_thread_outside_the_runtime() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut fixture = runtime.block_on(async {
        Fixture::with(None, |keys, hang| Arc::new(HangingKeyProvider(keys, hang)))
    });
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
    assert_eq!(fixture.provider.opened(), 1);
    let (done, is_done) = channel();
    std::thread::spawn(move || {
        drop(runtime);
        done.send(()).unwrap();
    });
    // The key is released only after that.
    assert_eq!(is_done.recv_timeout(Duration::from_secs(60)), Ok(()));
}
