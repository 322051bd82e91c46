//! Everything ends by the caller's deadline, and says at which step.
use crate::world::{World, assert_failed, attested, failure, get, with_more_time};
use keybound::http::Request;
use keybound::keys::{BindingKey, KeyError, KeyErrorKind, KeyProvider, ProviderChain};
use keybound::{Error, ErrorKind, KeyStrength, ManagedIdentityClient, Stage};
use keybound_emulator::SimulatedKeyProvider;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

#[tokio::test]
async fn a_service_that_says_nothing_ends_at_the_deadline_with_its_stage() {
    for (fault, stage) in [
        ("metadata=hang", Stage::Metadata),
        ("attest=hang", Stage::Attestation),
        ("issue=hang", Stage::Credential),
        ("token=hang", Stage::Token),
        ("token-tls=hang", Stage::Token),
    ] {
        let world = World::new();
        let client = world.client();
        // The key is made without haste: what is timed is the service.
        world.inject("attest=status:500");
        failure(&client, attested()).await;
        world.inject(&format!("{fault}*always"));
        let error = out_of_time_at(&client, stage).await;
        assert_failed(&error, ErrorKind::DeadlineReached, stage);
        assert!(error.is_retryable() && error.deadline_reached(), "{fault}");
    }
}

/// Runs out of time, with more of it where a busy machine did not get as far as the service that says nothing.
async fn out_of_time_at(client: &ManagedIdentityClient, stage: Stage) -> Error {
    let mut timeout = Duration::from_millis(400);
    loop {
        let error = failure(client, attested().timeout(timeout)).await;
        if error.stage() == stage || timeout > Duration::from_secs(20) {
            return error;
        }
        timeout *= 2;
    }
}

#[tokio::test]
async fn retries_that_the_deadline_cuts_short_return_the_last_answer() {
    let (world, error) = with_more_time(async |timeout| {
        let world = World::new();
        let client = world.builder().retries(true).build().unwrap();
        world.inject("metadata=status:503,Retry-After=30*10");
        let error = failure(&client, attested().timeout(timeout)).await;
        (world, error)
    })
    .await;
    assert_failed(&error, ErrorKind::ServiceUnavailable, Stage::Metadata);
    assert_eq!(error.status(), Some(503));
    assert!(error.deadline_reached());
    assert_eq!(world.count("metadata"), 1);
}

#[tokio::test]
async fn a_short_retry_after_is_honoured() {
    let world = World::new();
    let client = world.builder().retries(true).build().unwrap();
    world.inject("metadata=status:429,Retry-After=0*2");
    world.inject("issue=status:503,Retry-After=0");
    client.acquire_token(&attested()).await.unwrap();
    assert_eq!((world.count("metadata"), world.count("issue")), (3, 2));
}

#[tokio::test]
async fn dropping_the_future_gives_up_and_leaves_the_client_whole() {
    let world = World::new();
    let client = world.client();
    world.inject("metadata=hang");
    let request = attested();
    tokio::select! {
        biased;
        _ = client.acquire_token(&request) => unreachable!("IMDS says nothing"),
        () = async {
            while world.count("metadata") == 0 {
                tokio::task::yield_now().await;
            }
        } => {}
    }
    client.acquire_token(&attested()).await.unwrap();
}

#[tokio::test]
async fn a_resource_that_says_nothing_ends_at_the_deadline() {
    let world = World::new();
    let token = world.client().acquire_token(&attested()).await.unwrap();
    world.inject("vault=hang*always");
    let request = Request::get(world.secret_url())
        .body(keybound::http::RequestBody::empty())
        .unwrap();
    let client = token
        .bound_client()
        .unwrap()
        .with_timeout(Duration::from_millis(300));
    let error = client.send(&token, request).await.unwrap_err();
    assert_failed(&error, ErrorKind::DeadlineReached, Stage::Resource);
    world.emulator.clear_faults();
    assert_eq!(
        get(&token, &world.secret_url()).await.unwrap().status(),
        200
    );
}

#[tokio::test]
async fn a_key_that_takes_longer_than_the_caller_waits_is_there_for_the_next() {
    let world = World::new();
    let (client, provider, release) = with_held_key(&world);
    let request = attested();
    tokio::select! {
        biased;
        _ = client.acquire_token(&request) => unreachable!("there is no key yet"),
        () = async {
            while !provider.opened.load(Ordering::Acquire) {
                tokio::task::yield_now().await;
            }
        } => {}
    }
    release.send(()).unwrap();
    drop(release);
    client.acquire_token(&attested()).await.unwrap();
}

#[tokio::test]
async fn a_key_provider_that_hangs_ends_at_the_deadline_and_serves_once_it_comes_back() {
    let world = World::new();
    let (client, _, release) = with_held_key(&world);
    // The second one waits for what the first one began.
    for _ in 0..2 {
        let error = out_of_time_at(&client, Stage::Key).await;
        assert_failed(&error, ErrorKind::DeadlineReached, Stage::Key);
        assert!(error.is_retryable());
    }
    release.send(()).unwrap();
    drop(release);
    client.acquire_token(&attested()).await.unwrap();
}

/// A client whose key is there once the word is given.
fn with_held_key(world: &World) -> (ManagedIdentityClient, Arc<Held>, mpsc::Sender<()>) {
    let (release, held) = mpsc::channel();
    let provider = Arc::new(Held {
        keys: SimulatedKeyProvider::new(),
        opened: AtomicBool::new(false),
        words: Mutex::new(held),
    });
    let client = world
        .builder()
        .key_providers(ProviderChain::new(vec![provider.clone()]))
        .build()
        .unwrap();
    (client, provider, release)
}

/// Opens a key for each word it is given, and waits for the word. A second opening would find none and fail.
#[derive(Debug)]
struct Held {
    keys: SimulatedKeyProvider,
    opened: AtomicBool,
    words: Mutex<mpsc::Receiver<()>>,
}

impl KeyProvider for Held {
    fn strength(&self) -> KeyStrength {
        self.keys.strength()
    }

    fn open(&self) -> Result<Arc<dyn BindingKey>, KeyError> {
        let words = self.words.lock().unwrap();
        self.opened.store(true, Ordering::Release);
        let word = words.recv();
        word.map_err(|_| KeyError::new(KeyErrorKind::Failed, "opened once too often"))?;
        self.keys.open()
    }
}
