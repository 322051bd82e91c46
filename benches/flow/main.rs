//! The time of an acquisition and of bound calls, against the same steps done by hand, in pairs.
//!
//! `cargo bench --package keybound-benches [-- PAIRS]`. Keys are generated before the measurements. Both sides use one emulator
//! in this process. A ratio is Keybound's time divided by the other's, pair by pair; its median and quartiles are printed, and
//! the exit status is 0 if every median is within its bound.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod by_hand;
mod vault;

use by_hand::ByHand;
use keybound_benches::pairs::{Figure, compare};
use keybound_benches::test_host::TestHost;
use std::process::ExitCode;
use vault::{secret_request, token_request};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let pairs = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(PAIRS);
    let test_host = TestHost::new();
    let by_hand = ByHand::prepare(&test_host).await;
    println!("{pairs} pairs each; ratio = keybound / by hand: median (quartiles); times: medians");
    let figures = [
        first_acquisition(&test_host, &by_hand, pairs).await,
        cached_certificate(&test_host, &by_hand, pairs).await,
        bound_gets(&test_host, &by_hand, pairs).await,
    ];
    for figure in &figures {
        println!("{figure}");
    }
    if figures.iter().all(Figure::holds) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// With an existing key; metadata, certificate and token are fetched.
async fn first_acquisition(test_host: &TestHost, by_hand: &ByHand, pairs: usize) -> Figure {
    compare(
        "first acquisition, existing key",
        1.25,
        pairs,
        async || {
            test_host
                .client()
                .acquire_token(&token_request())
                .await
                .expect("a token");
        },
        async || by_hand.first_acquisition().await,
    )
    .await
}

/// With a cached certificate; a token is fetched, on a reused connection to Entra.
async fn cached_certificate(test_host: &TestHost, by_hand: &ByHand, pairs: usize) -> Figure {
    let client = test_host.client();
    client
        .acquire_token(&token_request())
        .await
        .expect("a token");
    compare(
        "token, cached certificate",
        1.25,
        pairs,
        async || {
            client
                .acquire_token(&token_request().force_refresh(true))
                .await
                .expect("a token");
        },
        async || {
            by_hand.token().await;
        },
    )
    .await
}

/// Sequential reads of one secret, on a reused connection that the certificate has authenticated.
async fn bound_gets(test_host: &TestHost, by_hand: &ByHand, pairs: usize) -> Figure {
    let token = test_host
        .client()
        .acquire_token(&token_request())
        .await
        .expect("a token");
    let client = token.bound_client().expect("a bound token");
    let mut connection = by_hand.vault_connection().await;
    compare(
        "20 bound GETs, reused connection",
        1.0 / 0.85,
        pairs,
        async || {
            for _ in 0..GETS {
                let response = client
                    .send(&token, secret_request(test_host))
                    .await
                    .expect("a response");
                assert_eq!(response.status(), 200);
                response.bytes_limited(64 * 1024).await.expect("a body");
            }
        },
        async || {
            for _ in 0..GETS {
                connection.get_secret().await;
            }
        },
    )
    .await
}

const PAIRS: usize = 200;
const GETS: usize = 20;
