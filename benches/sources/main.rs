//! Plain bearer tokens of App Service against azure_identity, both through azure_core's `TokenCredential`, in one run: cache hits
//! and acquisitions over the network in pairs; the requests of 64 first callers, and of 64 callers whose request fails.
//!
//! `cargo bench --package keybound-benches --bench sources [-- PAIRS]`. A ratio is Keybound's time divided by the other's, pair by
//! pair; its median and quartiles are printed, and the exit status is 0 if every median is within its bound and 64 callers send
//! one request.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod peer;
mod service;

use azure_core::credentials::TokenCredential;
use keybound::ManagedIdentityClient;
use keybound::azure::ManagedIdentityCredential;
use keybound_benches::pairs::{Figure, compare};
use service::Service;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

fn main() -> ExitCode {
    let Some(service) = Service::of_environment() else {
        return run_with_service();
    };
    let pairs = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok());
    let pairs = pairs.unwrap_or(PAIRS);
    // As in the benchmark of the cache: threads that wake each other measure the load of the machine.
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    println!(
        "{pairs} pairs each; ratio = keybound / azure_identity: median (quartiles); times: medians of a batch"
    );
    let figures = [hits(&runtime, pairs), acquisitions(&runtime, pairs)];
    for figure in &figures {
        println!("{figure}");
    }
    let shared = runtime.block_on(shared_requests(&service));
    if shared && figures.iter().all(Figure::holds) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs this program again with the variables of the service, since the peer reads them from the environment of the process.
fn run_with_service() -> ExitCode {
    let service = Service::start();
    let program = std::env::current_exe().expect("the program");
    let status = Command::new(program)
        .args(std::env::args_os().skip(1))
        .envs(service.environment())
        .status()
        .expect("the program runs");
    if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn ours() -> Arc<dyn TokenCredential> {
    let builder = ManagedIdentityClient::builder().retries(false);
    ManagedIdentityCredential::new(builder.build().expect("a client"))
}

fn hits(runtime: &Runtime, pairs: usize) -> Figure {
    let (ours, theirs) = (ours(), peer::credential());
    runtime.block_on(compare(
        "cache hit",
        1.0 / 2.0,
        pairs,
        async || repeated(&*ours, HITS).await,
        async || repeated(&*theirs, HITS).await,
    ))
}

async fn repeated(credential: &dyn TokenCredential, times: usize) {
    let scope = scope(0);
    for _ in 0..times {
        let token = credential.get_token(&[&scope], None).await;
        std::hint::black_box(token.expect("a token"));
    }
}

/// Each batch with a new credential, and each acquisition with a resource that is not cached.
fn acquisitions(runtime: &Runtime, pairs: usize) -> Figure {
    runtime.block_on(compare(
        "acquisition over the network",
        1.1,
        pairs,
        async || acquired(&*ours()).await,
        async || acquired(&*peer::credential()).await,
    ))
}

async fn acquired(credential: &dyn TokenCredential) {
    for resource in 0..ACQUISITIONS {
        let token = credential.get_token(&[&scope(resource)], None).await;
        std::hint::black_box(token.expect("a token"));
    }
}

/// Whether 64 callers share one request, also if it fails; prints the numbers of requests of both.
async fn shared_requests(service: &Service) -> bool {
    let mut shared = true;
    for (name, scope) in [
        ("64 first callers", SLOW),
        ("64 callers of a failing source", FAILING),
    ] {
        let (ours, theirs) = (ours(), peer::credential());
        let mut counts = Vec::new();
        for credential in [ours, theirs] {
            let before = service.requests(scope).await;
            callers(credential, scope).await;
            counts.push(service.requests(scope).await - before);
        }
        println!(
            "{name:<45} {} request, bound 1; azure_identity {}",
            counts[0], counts[1]
        );
        shared &= counts[0] == 1;
    }
    shared
}

async fn callers(credential: Arc<dyn TokenCredential>, scope: &'static str) {
    let mut calls = JoinSet::new();
    for _ in 0..64 {
        let credential = Arc::clone(&credential);
        calls.spawn(async move { credential.get_token(&[scope], None).await.is_ok() });
    }
    let outcomes = calls.join_all().await;
    assert!(outcomes.iter().all(|ok| *ok == (scope != FAILING)));
}

fn scope(resource: usize) -> String {
    format!("https://resource-{resource:05}.example.net/.default")
}

const PAIRS: usize = 200;
/// Per batch: milliseconds of a batch are microseconds of a hit.
const HITS: usize = 1000;
const ACQUISITIONS: usize = 20;
/// The service responds after a delay.
const SLOW: &str = "https://slow.example.net/.default";
/// The service responds with 400 after a delay.
const FAILING: &str = "https://failing.example.net/.default";
