//! The fuzz targets on stable Rust, with every seed and reproducible mutations of the seeds.
//!
//! `KEYBOUND_FUZZ_ROUNDS` is the number of mutations for each target.
use keybound_fuzz_targets::{TARGETS, Target};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

macro_rules! smoke {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            run(stringify!($name), keybound_fuzz_targets::$name);
        })*

        #[test]
        fn runs_every_target_and_each_has_an_entry_point_and_seeds() {
            let run = [$(stringify!($name)),*];
            let listed: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(listed, run);
            assert_eq!(stems(&fuzz_folder().join("fuzz_targets")), run);
            assert_eq!(stems(&fuzz_folder().join("seeds")), run);
        }
    };
}

smoke! {
    arc_challenge attestation_token certificate challenge claims compute_document credential emulator_attestation emulator_config emulator_csr
    emulator_fault emulator_request emulator_source emulator_token_not_after endpoint environment_proxy guid identity jwt metadata proxy_response redact
    resource_certificate_header resource_key_set resource_metadata resource_token resource_xfcc rsa_public_blob scope server_handshake service_error signing_request source_environment source_response system_proxy
    thumbprint token_response trust_anchors verify_check_request verify_config
}

fn run(name: &str, target: Target) {
    let seeds = seeds(name);
    for seed in &seeds {
        check(name, target, seed);
    }
    let mut mutator = Mutator::new(name, &seeds);
    for _ in 0..rounds() {
        check(name, target, &mutator.next());
    }
    check(name, target, b"");
}

/// Runs one input, and prints it if it fails, so that it can become a seed.
fn check(name: &str, target: Target, data: &[u8]) {
    if let Err(cause) = catch_unwind(AssertUnwindSafe(|| target(data))) {
        eprintln!(
            "{name} fails on {} bytes: {}",
            data.len(),
            data.escape_ascii()
        );
        std::panic::resume_unwind(cause);
    }
}

fn rounds() -> u32 {
    match std::env::var("KEYBOUND_FUZZ_ROUNDS") {
        Ok(text) => text.parse().expect("KEYBOUND_FUZZ_ROUNDS is a number"),
        Err(_) => 20_000,
    }
}

fn fuzz_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn stems(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let stem = |path: PathBuf| {
        path.file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned()
    };
    let mut stems: Vec<_> = paths.map(stem).collect();
    stems.sort();
    stems
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = fuzz_folder().join("seeds").join(name);
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} has no seeds", folder.display());
    paths
        .iter()
        .map(|path| fs::read(path).expect("a seed"))
        .collect()
}

/// Mutates seeds with a pseudorandom generator that starts with the same state in each run.
struct Mutator<'a> {
    seeds: &'a [Vec<u8>],
    state: u64,
}

impl<'a> Mutator<'a> {
    fn new(name: &str, seeds: &'a [Vec<u8>]) -> Self {
        // FNV-1a of the name, so that targets differ.
        let state = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self { seeds, state }
    }

    fn next(&mut self) -> Vec<u8> {
        let mut data = self.seed().clone();
        for _ in 0..=self.below(4) {
            self.mutate(&mut data);
        }
        data
    }

    fn mutate(&mut self, data: &mut Vec<u8>) {
        let at = self.below(data.len() + 1);
        let length = self.below(16).min(data.len() - at);
        match self.below(8) {
            0 => data.truncate(at),
            1 => drop(data.drain(at..at + length)),
            2 => {
                let part = data[at..at + length].to_vec();
                data.splice(at..at, part);
            }
            3 => {
                let other = self.seed();
                let from = self.below(other.len() + 1);
                let length = self.below(64).min(other.len() - from);
                data.splice(at..at, other[from..from + length].iter().copied());
            }
            4 => {
                let word = WORDS[self.below(WORDS.len())];
                data.splice(at..at + length, word.iter().copied());
            }
            5 => {
                let byte = self.byte();
                data.insert(at, byte);
            }
            6 if at < data.len() => data[at] ^= 1 << self.below(8),
            _ if at < data.len() => data[at] = self.byte(),
            _ => {}
        }
    }

    fn seed(&mut self) -> &'a Vec<u8> {
        let seeds = self.seeds;
        &seeds[self.below(seeds.len())]
    }

    fn byte(&mut self) -> u8 {
        self.random().to_le_bytes()[7]
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.random() >> 33).expect("31 bits") % bound
    }

    /// A linear congruential generator (Knuth's constants), of which the high bits suffice.
    fn random(&mut self) -> u64 {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.state
    }
}

/// Strings that random bytes rarely contain.
const WORDS: &[&[u8]] = &[
    b"",
    b"\"",
    b"\\u0000",
    b"\\ud800",
    b"{",
    b"}",
    b"[[[[[[[[",
    b"null",
    b"-1",
    b"18446744073709551616",
    b"1e999",
    b"\r\n",
    b"\x1b[2J",
    b"\xe2\x80\xae",
    b"\xff\xfe",
    b"https://",
    b"http://",
    b"127.0.0.1",
    b"localhost",
    b"@",
    b"%2e",
    b":443",
    b"/.default",
    b"eyJ",
    b"-----BEGIN X-----",
    b"-----END X-----",
    b"_token=",
    b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    b"\x30\x82\xff\xff",
    b"\x30\x80",
];
