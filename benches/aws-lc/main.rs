//! The verification of bound tokens against jsonwebtoken with aws-lc and with ring, and against a bare RSA signature.
//!
//! `cargo run --release --manifest-path benches/aws-lc/Cargo.toml [-- PAIRS]`. A ratio is Keybound's processor time divided by the other's,
//! pair by pair; its median and quartiles are printed, and the exit status is 0 if every median is within its bound.

#[path = "../verify/bare_signature.rs"]
mod bare_signature;
#[path = "../verify/json_web_token.rs"]
mod json_web_token;
#[expect(dead_code, reason = "work that waits is not compared here")]
#[path = "../pairs.rs"]
mod pairs;
mod provider;
#[path = "../verify/sides.rs"]
mod sides;

use bare_signature::BareSignature;
use json_web_token::JsonWebToken;
use pairs::Figure;
use provider::{Backend, EITHER};
use sides::Sides;
use std::process::ExitCode;

fn main() -> ExitCode {
    let pairs = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(PAIRS);
    EITHER.install_default().unwrap();
    let sides = Sides::new(1);
    println!(
        "{pairs} pairs each, tokens of {} bytes; ratio = keybound / other: median (quartiles); times: medians of a batch",
        sides.headers[0].len()
    );
    let bare = BareSignature::new(&sides.issuer, sides.token(0));
    let other = JsonWebToken::new(&sides.issuer);
    let with = |backend: Backend, name, bound| {
        backend.choose();
        sides.compare_uncached(pairs, name, bound, || other.verify(sides.token(0)))
    };
    let figures = [
        with(
            Backend::AwsLc,
            "not cached / jsonwebtoken, aws-lc",
            1.0 / 1.15,
        ),
        with(Backend::Ring, "not cached / jsonwebtoken, ring", 0.83),
        sides.compare_uncached(pairs, "not cached / bare signature", 1.0 / 0.75, || {
            assert!(bare.verify());
        }),
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

const PAIRS: usize = 60;
