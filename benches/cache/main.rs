//! The time of cache hits against azure_identity, both through azure_core's `TokenCredential`, in pairs; the time until 64
//! callers have the error of a failed request; the time of a cache hit of an app registration against one of a managed identity; the memory of a cached token and of a client.
//!
//! `cargo bench --package keybound-benches --bench cache [-- PAIRS]`. A ratio is Keybound's time divided by the other's, pair by
//! pair; its median and quartiles are printed, and the exit status is 0 if every median is within its bound. Tokens are cached
//! before the measurements, which use no network.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod failure;
mod memory;
mod peer;
mod requests;

use azure_core::credentials::TokenCredential;
use keybound::azure::ManagedIdentityCredential;
use keybound::confidential::TokenClient;
use keybound::{ConfidentialClient, ManagedIdentityClient, TokenRequest};
use keybound_benches::pairs::{Figure, compare};
use keybound_benches::test_host::{TestHost, unattested};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

fn main() -> ExitCode {
    if !peer::has_environment() {
        return run_with_environment();
    }
    let pairs = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(PAIRS);
    let one_thread = Builder::new_current_thread().enable_all().build();
    let one_thread = one_thread.expect("a runtime");
    let threads = Builder::new_multi_thread().enable_all().build();
    let threads = threads.expect("a runtime");
    let sides = one_thread.block_on(Sides::new());
    println!(
        "{pairs} pairs each; ratio = keybound / azure_identity: median (quartiles); times: medians of a batch"
    );
    let mut figures = hits(&one_thread, &threads, &sides, pairs);
    figures.extend(many_resources(&one_thread, &sides, pairs));
    figures.extend(app_registration(&one_thread, &threads, &sides, pairs));
    for figure in &figures {
        println!("{figure}");
    }
    let failures = one_thread.block_on(failure::compare());
    println!("{failures}");
    one_thread.block_on(memory::report(&sides));
    if failures.holds() && figures.iter().all(Figure::holds) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs this program again: the peer reads its endpoint from the environment of the process.
fn run_with_environment() -> ExitCode {
    let program = std::env::current_exe().expect("the program");
    let status = Command::new(program)
        .args(std::env::args_os().skip(1))
        .envs(peer::ENVIRONMENT)
        .status()
        .expect("the program runs");
    if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Both sides, with one cached token and with a thousand.
struct Sides {
    test_host: TestHost,
    token: String,
    ours: ManagedIdentityClient,
    ours_with_many: ManagedIdentityClient,
    app: ConfidentialClient,
    theirs: Arc<dyn TokenCredential>,
    theirs_with_many: Arc<dyn TokenCredential>,
}

impl Sides {
    async fn new() -> Self {
        let test_host = TestHost::new();
        let ours = test_host.client();
        let token = ours
            .acquire_token(&requests::request(0))
            .await
            .expect("a token");
        let token = token.secret().expose().to_owned();
        let app = test_host.app_client(&ours);
        app.acquire_token(&requests::request(0))
            .await
            .expect("a token");
        let ours_with_many = test_host.client();
        requests::fill(&ours_with_many, RESOURCES).await;
        let theirs = peer::credential(&token);
        peer::fill(&*theirs, 1).await;
        let theirs_with_many = peer::credential(&token);
        peer::fill(&*theirs_with_many, RESOURCES).await;
        Self {
            test_host,
            token,
            ours,
            ours_with_many,
            app,
            theirs,
            theirs_with_many,
        }
    }
}

fn hits(one_thread: &Runtime, threads: &Runtime, sides: &Sides, pairs: usize) -> Vec<Figure> {
    let ours: Arc<dyn TokenCredential> =
        ManagedIdentityCredential::over_mtls(sides.ours.clone(), unattested());
    let theirs = Arc::clone(&sides.theirs);
    let client = sides.ours.clone();
    let request = requests::request(0);
    vec![
        one_thread.block_on(compare(
            "TokenCredential, 1 caller",
            1.0 / 2.0,
            pairs,
            async || through_trait(&*ours).await,
            async || through_trait(&*theirs).await,
        )),
        one_thread.block_on(compare(
            "own API, 1 caller",
            1.0 / 3.0,
            pairs,
            async || through_own(&client, &request).await,
            async || through_trait(&*theirs).await,
        )),
        threads.block_on(compare(
            "TokenCredential, 8 callers",
            1.0 / 2.0,
            pairs,
            async || eight(|| through_trait_owned(Arc::clone(&ours))).await,
            async || eight(|| through_trait_owned(Arc::clone(&theirs))).await,
        )),
        threads.block_on(compare(
            "own API, 8 callers",
            1.0 / 3.0,
            pairs,
            async || eight(|| through_own_owned(client.clone(), request.clone())).await,
            async || eight(|| through_trait_owned(Arc::clone(&theirs))).await,
        )),
    ]
}

/// Here a ratio is the time of a hit with a thousand cached resources divided by that with one.
fn many_resources(runtime: &Runtime, sides: &Sides, pairs: usize) -> Vec<Figure> {
    let requests: Vec<_> = (0..RESOURCES).map(requests::request).collect();
    let scopes: Vec<_> = (0..RESOURCES).map(requests::scope).collect();
    // The same number of request values on both sides, so that the processor's caches affect both equally.
    let only: Vec<_> = (0..RESOURCES).map(|_| requests::request(0)).collect();
    let only_scope: Vec<_> = (0..RESOURCES).map(|_| requests::scope(0)).collect();
    vec![
        runtime.block_on(compare(
            "own API, 1000 resources / 1",
            1.3,
            pairs,
            async || through_all(&sides.ours_with_many, &requests).await,
            async || through_all(&sides.ours, &only).await,
        )),
        runtime.block_on(compare(
            "(azure_identity, 1000 / 1)",
            f64::INFINITY,
            pairs,
            async || through_scopes(&*sides.theirs_with_many, &scopes).await,
            async || through_scopes(&*sides.theirs, &only_scope).await,
        )),
    ]
}

/// Here a ratio is the time of a hit of a client of an app registration divided by that of a managed identity's.
fn app_registration(
    one_thread: &Runtime,
    threads: &Runtime,
    sides: &Sides,
    pairs: usize,
) -> Vec<Figure> {
    let (app, identity) = (
        TokenClient::from(&sides.app),
        TokenClient::from(&sides.ours),
    );
    let request = requests::request(0);
    vec![
        one_thread.block_on(compare(
            "app registration / identity, 1 caller",
            1.1,
            pairs,
            async || through_client(&app, &request).await,
            async || through_client(&identity, &request).await,
        )),
        threads.block_on(compare(
            "app registration / identity, 8 callers",
            1.1,
            pairs,
            async || eight(|| through_client_owned(app.clone(), request.clone())).await,
            async || eight(|| through_client_owned(identity.clone(), request.clone())).await,
        )),
    ]
}

async fn through_client_owned(client: TokenClient, request: TokenRequest) {
    through_client(&client, &request).await;
}

async fn through_client(client: &TokenClient, request: &TokenRequest) {
    for _ in 0..HITS {
        let token = client.acquire_token(request).await;
        std::hint::black_box(token.expect("a token"));
    }
}

async fn eight<T: Future<Output = ()> + Send + 'static>(caller: impl Fn() -> T) {
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        callers.spawn(caller());
    }
    callers.join_all().await;
}

async fn through_trait_owned(credential: Arc<dyn TokenCredential>) {
    through_trait(&*credential).await;
}

async fn through_own_owned(client: ManagedIdentityClient, request: TokenRequest) {
    through_own(&client, &request).await;
}

async fn through_trait(credential: &dyn TokenCredential) {
    let scope = requests::scope(0);
    for _ in 0..HITS {
        let token = credential.get_token(&[&scope], None).await;
        std::hint::black_box(token.expect("a token"));
    }
}

async fn through_own(client: &ManagedIdentityClient, request: &TokenRequest) {
    for _ in 0..HITS {
        let token = client.acquire_token(request).await;
        std::hint::black_box(token.expect("a token"));
    }
}

async fn through_all(client: &ManagedIdentityClient, requests: &[TokenRequest]) {
    for request in requests {
        let token = client.acquire_token(request).await;
        std::hint::black_box(token.expect("a token"));
    }
}

async fn through_scopes(credential: &dyn TokenCredential, scopes: &[String]) {
    for scope in scopes {
        let token = credential.get_token(&[scope], None).await;
        std::hint::black_box(token.expect("a token"));
    }
}

const PAIRS: usize = 400;
/// Per batch: milliseconds of a batch are microseconds of a hit.
const HITS: usize = 1000;
const RESOURCES: usize = 1000;
