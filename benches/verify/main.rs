//! The verification of bound tokens: the whole of it against a bare RSA signature and against jsonwebtoken; cached tokens against a
//! map with SHA-256 as key.
//!
//! `cargo bench --package keybound-benches --bench verify [-- PAIRS]`. A ratio is Keybound's processor time divided by the other's, pair
//! by pair; its median and quartiles are printed, and the exit status is 0 if every median is within its bound and a hit
//! allocates nothing.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::unwrap_used, reason = "what fails here ends the benchmark")]

mod allocations;
mod bare_signature;
mod json_web_token;
mod sha256_map;
mod sides;

use bare_signature::BareSignature;
use json_web_token::JsonWebToken;
use keybound_benches::pairs;
use keybound_resource::Verifier;
use keybound_testing::RING;
use pairs::{Figure, compare_processor_time};
use sha256_map::Sha256Map;
use sides::{Sides, UNCACHED, processor_time, repeat};
use std::hint::black_box;
use std::process::ExitCode;

fn main() -> ExitCode {
    let pairs = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(PAIRS);
    RING.install_default().unwrap();
    let sides = Sides::new(TOKENS);
    let cached = Cached {
        caching: sides.verifier(64 << 20),
        sides: &sides,
    };
    println!(
        "{pairs} pairs each, tokens of {} bytes; ratio = keybound / other: median (quartiles); times: medians of a batch",
        sides.headers[0].len()
    );
    let bare = BareSignature::new(&sides.issuer, sides.token(0));
    let other = JsonWebToken::new(&sides.issuer);
    let figures = [
        sides.compare_uncached(pairs, "not cached / bare signature", 1.0 / 0.75, || {
            assert!(bare.verify());
        }),
        sides.compare_uncached(pairs, "not cached / jsonwebtoken", 0.83, || {
            other.verify(sides.token(0));
        }),
        cached.compare_uncached(pairs),
        cached.compare_map(pairs, "cached / map by SHA-256", 0.2, 1, 2000),
        cached.compare_map(
            pairs,
            "10,000 in turn / map by SHA-256",
            1.25,
            TOKENS,
            TOKENS,
        ),
    ];
    for figure in &figures {
        println!("{figure}");
    }
    let allocations = cached.allocations_of_a_hit();
    println!("allocations of a hit: {allocations}");
    if allocations == 0 && figures.iter().all(Figure::holds) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Tokens that are cached.
struct Cached<'a> {
    caching: Verifier,
    sides: &'a Sides,
}

impl Cached<'_> {
    /// The same token cached and not; the batches differ in their size by the factor that is the bound.
    fn compare_uncached(&self, pairs: usize) -> Figure {
        let verifying = self.sides.verifier(0);
        compare_processor_time(
            "100 cached / 1 not cached",
            1.0,
            pairs,
            processor_time,
            || repeat(100 * UNCACHED, || self.sides.accept(&self.caching, 0)),
            || repeat(UNCACHED, || self.sides.accept(&verifying, 0)),
        )
    }

    /// Tokens in turn, all of which are cached on both sides.
    fn compare_map(
        &self,
        pairs: usize,
        name: &'static str,
        bound: f64,
        tokens: usize,
        count: usize,
    ) -> Figure {
        let Sides {
            headers,
            certificate,
            ..
        } = self.sides;
        let mut map = Sha256Map::default();
        for (number, header) in headers[..tokens].iter().enumerate() {
            let caller = self.caching.verify(header.as_str(), certificate);
            map.insert(self.sides.token(number), caller.unwrap());
        }
        let mut turn = 0;
        let mut their_turn = 0;
        compare_processor_time(
            name,
            bound,
            pairs,
            processor_time,
            || {
                repeat(count, || {
                    turn = (turn + 1) % tokens;
                    self.sides.accept(&self.caching, turn);
                });
            },
            || {
                repeat(count, || {
                    their_turn = (their_turn + 1) % tokens;
                    let token = self.sides.token(their_turn);
                    black_box(map.find(token, certificate).unwrap());
                });
            },
        )
    }

    fn allocations_of_a_hit(&self) -> usize {
        let hit = || self.sides.accept(&self.caching, 0);
        hit();
        allocations::during(|| repeat(1000, hit))
    }
}

const PAIRS: usize = 60;
const TOKENS: usize = 10_000;
