//! What an acquisition and a bound call cost beside the same steps done by hand, in pairs, in one run.
//!
//! `cargo bench --package keybound-benches [-- PAIRS]`. Keys are made before anything is timed. Both sides talk to one
//! emulator in this process. A ratio is Keybound's time over the other's, pair by pair; its median and quartiles are
//! printed, and the exit status says whether each median keeps its bound.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod by_hand;
mod vault;

use by_hand::ByHand;
use keybound_benches::pairs::{Figure, compare};
use keybound_benches::world::World;
use std::process::ExitCode;
use vault::{secret_request, token_request};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let pairs = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(PAIRS);
    let world = World::new();
    let by_hand = ByHand::prepare(&world).await;
    println!("{pairs} pairs each; ratio = keybound / by hand: median (quartiles); times: medians");
    let figures = [
        first_acquisition(&world, &by_hand, pairs).await,
        certificate_at_hand(&world, &by_hand, pairs).await,
        bound_gets(&world, &by_hand, pairs).await,
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

/// The key is at hand; everything else is got: metadata, certificate, token.
async fn first_acquisition(world: &World, by_hand: &ByHand, pairs: usize) -> Figure {
    compare(
        "first acquisition, key at hand",
        1.25,
        pairs,
        async || {
            world
                .client()
                .acquire_token(&token_request())
                .await
                .expect("a token");
        },
        async || by_hand.first_acquisition().await,
    )
    .await
}

/// Key and certificate are at hand; a token is asked for. The connection to Entra is kept, as a client does.
async fn certificate_at_hand(world: &World, by_hand: &ByHand, pairs: usize) -> Figure {
    let client = world.client();
    client
        .acquire_token(&token_request())
        .await
        .expect("a token");
    compare(
        "token, certificate at hand",
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

/// Reads of one secret, one after another, on kept connections that the certificate has authenticated.
async fn bound_gets(world: &World, by_hand: &ByHand, pairs: usize) -> Figure {
    let token = world
        .client()
        .acquire_token(&token_request())
        .await
        .expect("a token");
    let client = token.bound_client().expect("a bound token");
    let mut connection = by_hand.vault_connection().await;
    compare(
        "20 bound GETs, connection kept",
        1.0 / 0.85,
        pairs,
        async || {
            for _ in 0..GETS {
                let answer = client
                    .send(&token, secret_request(world))
                    .await
                    .expect("an answer");
                assert_eq!(answer.status(), 200);
                answer.bytes_limited(64 * 1024).await.expect("a body");
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
