//! Every operation ends by the caller's deadline and reports its stage.
use keybound::http::Request;
use keybound::keys::{BindingKey, KeyError, KeyErrorKind, KeyProvider, ProviderChain};
use keybound::{Error, ErrorKind, KeyStrength, ManagedIdentityClient, Stage};
use keybound_emulator::SimulatedKeyProvider;
use keybound_testing::emulated::{TestHost, assert_failed, attested, failure, get, with_more_time};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

#[tokio::test]
async fn unresponsive_service_ends_at_the_deadline_with_its_stage() {
    for (fault, stage) in [
        ("metadata=hang", Stage::Metadata),
        ("attest=hang", Stage::Attestation),
        ("issue=hang", Stage::Credential),
        ("token=hang", Stage::Token),
        ("token-tls=hang", Stage::Token),
    ] {
        let host = TestHost::new();
        let client = host.client();
        // Creates the key before the time is measured.
        host.inject("attest=status:500");
        failure(&client, attested()).await;
        host.inject(&format!("{fault}*always"));
        let error = deadline_exceeded_at(&client, stage).await;
        assert_failed(&error, ErrorKind::DeadlineExceeded, stage);
        assert!(error.is_retryable() && error.deadline_exceeded(), "{fault}");
    }
}

/// Exceeds a deadline at this stage. The timeout grows until a busy machine gets that far.
async fn deadline_exceeded_at(client: &ManagedIdentityClient, stage: Stage) -> Error {
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
async fn returns_the_last_error_response_if_the_deadline_ends_retries() {
    let (host, error) = with_more_time(async |timeout| {
        let host = TestHost::new();
        let client = host.builder().retries(true).build().unwrap();
        host.inject("metadata=status:503,Retry-After=30*10");
        let error = failure(&client, attested().timeout(timeout)).await;
        (host, error)
    })
    .await;
    assert_failed(&error, ErrorKind::ServiceUnavailable, Stage::Metadata);
    assert_eq!(error.status(), Some(503));
    assert!(error.deadline_exceeded());
    assert_eq!(host.count("metadata"), 1);
}

#[tokio::test]
async fn honors_retry_after() {
    let host = TestHost::new();
    let client = host.builder().retries(true).build().unwrap();
    host.inject("metadata=status:429,Retry-After=0*2");
    host.inject("issue=status:503,Retry-After=0");
    client.acquire_token(&attested()).await.unwrap();
    assert_eq!((host.count("metadata"), host.count("issue")), (3, 2));
}

#[tokio::test]
async fn dropping_the_future_cancels_the_request() {
    let host = TestHost::new();
    let client = host.client();
    host.inject("metadata=hang");
    let request = attested();
    tokio::select! {
        biased;
        _ = client.acquire_token(&request) => unreachable!("IMDS does not respond"),
        () = async {
            while host.count("metadata") == 0 {
                tokio::task::yield_now().await;
            }
        } => {}
    }
    client.acquire_token(&attested()).await.unwrap();
}

#[tokio::test]
async fn unresponsive_resource_ends_at_the_deadline() {
    let host = TestHost::new();
    let token = host.client().acquire_token(&attested()).await.unwrap();
    host.inject("vault=hang*always");
    let request = Request::get(host.secret_url())
        .body(keybound::http::RequestBody::empty())
        .unwrap();
    let client = token
        .bound_client()
        .unwrap()
        .with_timeout(Duration::from_millis(300));
    let error = client.send(&token, request).await.unwrap_err();
    assert_failed(&error, ErrorKind::DeadlineExceeded, Stage::Resource);
    host.emulator.clear_faults();
    assert_eq!(get(&token, &host.secret_url()).await.unwrap().status(), 200);
}

#[tokio::test]
async fn key_that_opens_after_the_deadline_is_used_by_the_next_request() {
    let host = TestHost::new();
    let (client, provider, release) = with_blocked_key(&host);
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
async fn hanging_key_provider_ends_at_the_deadline_and_recovers() {
    let host = TestHost::new();
    let (client, _, release) = with_blocked_key(&host);
    // The second request waits for the key that the first one opens.
    for _ in 0..2 {
        let error = deadline_exceeded_at(&client, Stage::Key).await;
        assert_failed(&error, ErrorKind::DeadlineExceeded, Stage::Key);
        assert!(error.is_retryable());
    }
    release.send(()).unwrap();
    drop(release);
    client.acquire_token(&attested()).await.unwrap();
}

/// A client whose key opens when the sender sends.
fn with_blocked_key(
    host: &TestHost,
) -> (
    ManagedIdentityClient,
    Arc<BlockedKeyProvider>,
    mpsc::Sender<()>,
) {
    let (release, released) = mpsc::channel();
    let provider = Arc::new(BlockedKeyProvider {
        keys: SimulatedKeyProvider::new(),
        opened: AtomicBool::new(false),
        releases: Mutex::new(released),
    });
    let client = host
        .builder()
        .key_providers(ProviderChain::new(vec![provider.clone()]))
        .build()
        .unwrap();
    (client, provider, release)
}

/// Opens one key for each message that it receives. A second opening fails, as there is no second message.
#[derive(Debug)]
struct BlockedKeyProvider {
    keys: SimulatedKeyProvider,
    opened: AtomicBool,
    releases: Mutex<mpsc::Receiver<()>>,
}

impl KeyProvider for BlockedKeyProvider {
    fn strength(&self) -> KeyStrength {
        self.keys.strength()
    }

    fn open(&self) -> Result<Arc<dyn BindingKey>, KeyError> {
        let releases = self.releases.lock().unwrap();
        self.opened.store(true, Ordering::Release);
        let released = releases.recv();
        released.map_err(|_| KeyError::new(KeyErrorKind::Failed, "opened twice"))?;
        self.keys.open()
    }
}
