//! A state that clients on several runtimes share, one of which is shut down during an acquisition.
use keybound::keys::ProviderChain;
use keybound::{ManagedIdentityClient, SharedState, TokenSource};
use keybound_emulator::{SimulatedAttestation, SimulatedKeyProvider};
use keybound_testing::emulated::{TestHost, attested};
use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

#[tokio::test]
async fn waiters_on_other_runtimes_get_a_token_after_a_shutdown() {
    for (fault, leg) in [
        ("metadata=hang", "metadata"),
        ("attest=hang", "attest"),
        ("issue=hang", "issue"),
        ("token=hang", "token"),
        ("token-tls=hang", "token-tls"),
        // Shut down during the delay before a retry.
        ("metadata=status:410", "metadata"),
    ] {
        for builder in [Builder::new_current_thread(), Builder::new_multi_thread()] {
            check(fault, leg, OtherRuntime::start(builder)).await;
        }
    }
}

async fn check(fault: &str, leg: &str, other: OtherRuntime) {
    let host = TestHost::new();
    // Without retries, an unresponsive service is an error: a token proves that the request was started again.
    let clients = Clients::of(&host, fault.contains("status"));
    host.inject(fault);
    let client = clients.build();
    let theirs = other
        .handle
        .spawn(async move { client.acquire_token(&attested()).await });
    reached(&host, "metadata").await;
    let client = clients.build();
    let request = attested();
    let mut ours = pin!(client.acquire_token(&request));
    let joined = poll_fn(|context| Poll::Ready(ours.as_mut().poll(context))).await;
    assert!(joined.is_pending(), "{fault}");
    tokio::select! {
        biased;
        () = reached(&host, leg) => {}
        _ = &mut ours => unreachable!("{fault}: no response is sent"),
    }
    other.shut_down();
    let token = ours.await;
    let token = token.unwrap_or_else(|error| panic!("{fault}: {error:?}"));
    assert_eq!(token.source(), TokenSource::IdentityProvider, "{fault}");
    assert_eq!(
        host.count(leg),
        2,
        "{fault}: the first execution and the next one"
    );
    assert!(theirs.await.unwrap_err().is_cancelled(), "{fault}");
    let again = clients.build().acquire_token(&attested()).await.unwrap();
    assert_eq!(again.source(), TokenSource::Cache, "{fault}");
}

async fn reached(host: &TestHost, leg: &str) {
    while host.count(leg) == 0 {
        tokio::task::yield_now().await;
    }
}

/// Builds clients that share a state.
struct Clients<'a> {
    host: &'a TestHost,
    retries: bool,
    state: SharedState,
    keys: ProviderChain,
    attestation: Arc<SimulatedAttestation>,
}

impl<'a> Clients<'a> {
    fn of(host: &'a TestHost, retries: bool) -> Self {
        Self {
            retries,
            host,
            state: SharedState::new(),
            keys: ProviderChain::new(vec![Arc::new(SimulatedKeyProvider::new())]),
            attestation: Arc::new(SimulatedAttestation::new(host.trust()).unwrap()),
        }
    }

    fn build(&self) -> ManagedIdentityClient {
        self.host
            .builder()
            .key_providers(self.keys.clone())
            .attestation(Arc::clone(&self.attestation) as _)
            .state(self.state.clone())
            .retries(self.retries)
            .build()
            .unwrap()
    }
}

/// A runtime that a thread drives until its shutdown.
struct OtherRuntime {
    handle: Handle,
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl OtherRuntime {
    fn start(mut builder: Builder) -> Self {
        let runtime: Runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            runtime.block_on(stopped).unwrap();
            runtime.shutdown_background();
        });
        Self {
            handle,
            stop,
            thread,
        }
    }

    fn shut_down(self) {
        self.stop.send(()).unwrap();
        self.thread.join().unwrap();
    }
}
