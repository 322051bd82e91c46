//! A state that clients on several runtimes share, one of which is shut down during an acquisition.
use futures_util::poll;
use keybound::keys::ProviderChain;
use keybound::{SharedState, TokenSource};
use keybound_emulator::{SimulatedAttestation, SimulatedKeyProvider};
use keybound_testing::emulated::{TestHost, attested};
use std::pin::pin;
use std::sync::Arc;
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
            let other = OtherRuntime::start(builder);
            let host = TestHost::new();
            let state = SharedState::new();
            let keys = ProviderChain::new(vec![Arc::new(SimulatedKeyProvider::new())]);
            let attestation = Arc::new(SimulatedAttestation::new(host.trust()).unwrap());
            let client = || {
                host.builder()
                    .key_providers(keys.clone())
                    .attestation(Arc::clone(&attestation) as _)
                    .state(state.clone())
                    // Without retries, an unresponsive service is an error: a token proves that the request was started again.
                    .retries(fault.contains("status"))
                    .build()
                    .unwrap()
            };
            host.inject(fault);
            let theirs = client();
            let theirs = async move { theirs.acquire_token(&attested()).await };
            let theirs = other.handle.spawn(theirs);
            reached(&host, "metadata").await;
            let request = attested();
            let ours = client();
            let mut ours = pin!(ours.acquire_token(&request));
            assert!(poll!(ours.as_mut()).is_pending(), "{fault}");
            tokio::select! {
                biased;
                () = reached(&host, leg) => {}
                _ = &mut ours => unreachable!("{fault}: no response is sent"),
            }
            other.shut_down();
            let token = ours.await;
            let token = token.unwrap_or_else(|error| panic!("{fault}: {error:?}"));
            assert_eq!(token.source(), TokenSource::IdentityProvider, "{fault}");
            // The first execution and the next one.
            assert_eq!(host.count(leg), 2, "{fault}");
            assert!(theirs.await.unwrap_err().is_cancelled(), "{fault}");
            let again = client().acquire_token(&attested()).await.unwrap();
            assert_eq!(again.source(), TokenSource::Cache, "{fault}");
        }
    }
}

async fn reached(host: &TestHost, leg: &str) {
    while host.count(leg) == 0 {
        tokio::task::yield_now().await;
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
