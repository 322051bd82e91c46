//! The verification of bound tokens: the whole of it against a bare RSA signature and against jsonwebtoken; cached tokens against a
//! map with SHA-256 as key.
//!
//! `cargo bench --package keybound-benches --bench verify [-- PAIRS]`. A ratio is Keybound's processor time divided by the other's, pair
//! by pair; its median and quartiles are printed, and the exit status is 0 if every median is within its bound and a hit
//! allocates nothing.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::unwrap_used, reason = "what fails here ends the benchmark")]

mod allocations;
mod others;

use keybound_benches::pairs::{Figure, compare_processor_time};
use keybound_resource::Clock as _;
use keybound_resource::{ClientCertificate, Guid, KeySet, Keys, SystemClock, Verifier};
use keybound_testing::attacks::{RESOURCE, TENANT, TestIssuer, TokenRecipe};
use others::{BareSignature, Jsonwebtoken, Sha256Map};
use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

fn main() -> ExitCode {
    let pairs = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(PAIRS);
    let sides = Sides::new();
    println!(
        "{pairs} pairs each, tokens of {} bytes; ratio = keybound / other: median (quartiles); times: medians of a batch",
        sides.headers[0].len()
    );
    let figures = [
        sides.verified(pairs, "not cached / bare signature", 1.0 / 0.75, {
            let bare = BareSignature::new(&sides.issuer, &sides.headers[0]);
            move || assert!(bare.verify())
        }),
        sides.verified(pairs, "not cached / jsonwebtoken", 0.83, {
            let other = Jsonwebtoken::new(&sides.issuer);
            let token = sides.token(0).to_owned();
            move || other.verify(&token)
        }),
        sides.cached_and_verified(pairs),
        sides.cached(pairs, "cached / map by SHA-256", 0.2, 1, 2000),
        sides.cached(
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
    let allocations = sides.allocations_of_a_hit();
    println!("allocations of a hit: {allocations}");
    if allocations == 0 && figures.iter().all(Figure::holds) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

struct Sides {
    issuer: TestIssuer,
    caching: Verifier,
    verifying: Verifier,
    certificate: ClientCertificate,
    headers: Vec<String>,
}

impl Sides {
    fn new() -> Self {
        let now = UNIX_EPOCH + SystemClock::new().wall();
        let issuer = TestIssuer::new(now);
        let certificate = issuer.certificates.der("client").unwrap();
        let recipe: TokenRecipe = serde_json::from_str(RECIPE).unwrap();
        let verifier = |cache_bytes| {
            let keys = KeySet::parse(issuer.key_set().to_string().as_bytes()).unwrap();
            Verifier::builder()
                .audience(RESOURCE)
                .tenant(Guid::parse(TENANT).unwrap())
                .require_roles(["Orders.Read.All"])
                .require_app_only(true)
                .keys(Keys::fixed(keys))
                .cache_bytes(cache_bytes)
                .build()
                .unwrap()
        };
        let (caching, verifying) = (verifier(64 << 20), verifier(0));
        let header = |number: usize| {
            let mut recipe = recipe.clone();
            recipe
                .claims
                .insert("uti".to_owned(), format!("{number:016}").into());
            format!("mtls_pop {}", recipe.make(&issuer))
        };
        Self {
            headers: (0..TOKENS).map(header).collect(),
            certificate: ClientCertificate::from_der(&certificate).unwrap(),
            caching,
            verifying,
            issuer,
        }
    }

    fn token(&self, number: usize) -> &str {
        self.headers[number].split_once(' ').unwrap().1
    }

    /// Tokens that are not cached, one by one, against another work.
    fn verified(
        &self,
        pairs: usize,
        name: &'static str,
        bound: f64,
        mut other: impl FnMut(),
    ) -> Figure {
        compare_processor_time(
            name,
            bound,
            pairs,
            processor_time,
            || {
                repeat(50, || {
                    accept(&self.verifying, &self.headers[0], &self.certificate)
                })
            },
            || repeat(50, &mut other),
        )
    }

    /// The same token cached and not; the batches differ in their size by the factor that is the bound.
    fn cached_and_verified(&self, pairs: usize) -> Figure {
        compare_processor_time(
            "100 cached / 1 not cached",
            1.0,
            pairs,
            processor_time,
            || {
                repeat(5000, || {
                    accept(&self.caching, &self.headers[0], &self.certificate)
                })
            },
            || {
                repeat(50, || {
                    accept(&self.verifying, &self.headers[0], &self.certificate)
                })
            },
        )
    }

    /// Tokens in turn, all of which are cached on both sides.
    fn cached(
        &self,
        pairs: usize,
        name: &'static str,
        bound: f64,
        tokens: usize,
        count: usize,
    ) -> Figure {
        let mut map = Sha256Map::default();
        for header in &self.headers[..tokens] {
            let caller = self.caching.verify(header.as_str(), &self.certificate);
            map.insert(header.split_once(' ').unwrap().1, caller.unwrap());
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
                    accept(&self.caching, &self.headers[turn], &self.certificate);
                });
            },
            || {
                repeat(count, || {
                    their_turn = (their_turn + 1) % tokens;
                    let token = self.token(their_turn);
                    black_box(map.find(token, &self.certificate).unwrap());
                });
            },
        )
    }

    fn allocations_of_a_hit(&self) -> usize {
        let hit = || accept(&self.caching, &self.headers[0], &self.certificate);
        hit();
        allocations::during(|| repeat(1000, hit))
    }
}

fn accept(verifier: &Verifier, header: &str, certificate: &ClientCertificate) {
    black_box(verifier.verify(header, certificate).unwrap());
}

fn repeat(count: usize, mut work: impl FnMut()) {
    for _ in 0..count {
        work();
    }
}

#[cfg(unix)]
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.try_into().unwrap_or_default()
}

/// The monotonic clock.
#[cfg(not(unix))]
fn processor_time() -> Duration {
    SystemClock::new().monotonic()
}

const PAIRS: usize = 60;
const TOKENS: usize = 10_000;
/// As long as Entra's tokens.
const RECIPE: &str = r#"{"claims":{
    "rh": "1.AQ8Av4j5cvGGr0GRqy180BHbR8AAAAAAAAAAwAAAAAAAAABkAAAPAA.AgABAwEAAABVrSpeuWamRam2jAF1XRQEAwDs_wUA9P8",
    "wids": ["0997a1d0-0d1d-4acb-b408-d5ca73121e90"],
    "xms_ftd": "k5Xf3gkq2cVbYq0Xz0YF7m3V9lqz1bO0o8s7gC2nZ0EBZXVyb3BlLWRzdGVhc3Q",
    "xms_idrel": "7 14"
}}"#;
