//! One state shared by clients on several runtimes, of which one ends in the middle of an acquisition.
use crate::world::{World, attested};
use keybound::keys::ProviderChain;
use keybound::{ManagedIdentityClient, SharedState, TokenSource};
use keybound_emulator::{SimulatedAttestation, SimulatedKeyProvider};
use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

#[tokio::test]
async fn where_the_runtime_of_an_acquisition_ends_those_who_wait_elsewhere_get_their_token() {
    for (fault, leg) in [
        ("metadata=hang", "metadata"),
        ("attest=hang", "attest"),
        ("issue=hang", "issue"),
        ("token=hang", "token"),
        ("token-tls=hang", "token-tls"),
        // What it waits for is the time of its next attempt.
        ("metadata=status:410", "metadata"),
    ] {
        for builder in [Builder::new_current_thread(), Builder::new_multi_thread()] {
            survive(fault, leg, Elsewhere::start(builder)).await;
        }
    }
}

async fn survive(fault: &str, leg: &str, elsewhere: Elsewhere) {
    let world = World::new();
    // Without retries what says nothing ends in an error: a token shows that it was not waited for.
    let clients = Clients::of(&world, fault.contains("status"));
    world.inject(fault);
    let client = clients.make();
    let theirs = elsewhere
        .handle
        .spawn(async move { client.acquire_token(&attested()).await });
    reached(&world, "metadata").await;
    let client = clients.make();
    let request = attested();
    let mut ours = pin!(client.acquire_token(&request));
    let joined = poll_fn(|context| Poll::Ready(ours.as_mut().poll(context))).await;
    assert!(joined.is_pending(), "{fault}");
    tokio::select! {
        biased;
        () = reached(&world, leg) => {}
        _ = &mut ours => unreachable!("{fault}: nothing is answered"),
    }
    elsewhere.end();
    let token = ours.await;
    let token = token.unwrap_or_else(|error| panic!("{fault}: {error:?}"));
    assert_eq!(token.source(), TokenSource::IdentityProvider, "{fault}");
    assert_eq!(world.count(leg), 2, "{fault}: one flight, then one more");
    assert!(theirs.await.unwrap_err().is_cancelled(), "{fault}");
    let again = clients.make().acquire_token(&attested()).await.unwrap();
    assert_eq!(again.source(), TokenSource::Cache, "{fault}");
}

async fn reached(world: &World, leg: &str) {
    while world.count(leg) == 0 {
        tokio::task::yield_now().await;
    }
}

/// Clients of one state, made as they are needed.
struct Clients<'a> {
    world: &'a World,
    retries: bool,
    state: SharedState,
    keys: ProviderChain,
    attestation: Arc<SimulatedAttestation>,
}

impl<'a> Clients<'a> {
    fn of(world: &'a World, retries: bool) -> Self {
        Self {
            retries,
            world,
            state: SharedState::new(),
            keys: ProviderChain::new(vec![Arc::new(SimulatedKeyProvider::new())]),
            attestation: Arc::new(SimulatedAttestation::new(world.trust()).unwrap()),
        }
    }

    fn make(&self) -> ManagedIdentityClient {
        self.world
            .builder()
            .key_providers(self.keys.clone())
            .attestation(Arc::clone(&self.attestation) as _)
            .state(self.state.clone())
            .retries(self.retries)
            .build()
            .unwrap()
    }
}

/// A runtime that is driven until it is ended.
struct Elsewhere {
    handle: Handle,
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Elsewhere {
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

    fn end(self) {
        self.stop.send(()).unwrap();
        self.thread.join().unwrap();
    }
}
