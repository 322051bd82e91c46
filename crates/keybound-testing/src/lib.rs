//! What the tests of several crates share. It is not published.
//!
//! A crate's unit tests cannot use a type of this crate where it implements a trait of theirs: they see another copy of the trait.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

#[cfg(feature = "attacks")]
pub mod attacks;
#[cfg(feature = "pki")]
mod authority;
#[cfg(feature = "log")]
mod captured_log;
mod cases;
#[cfg(feature = "pki")]
mod certificate;
mod child_process;
#[cfg(feature = "emulator")]
pub mod emulated;
#[cfg(feature = "attestation")]
mod fake_attestation;
#[cfg(feature = "flood")]
pub mod flood;
#[cfg(feature = "servers")]
pub mod http1;
#[cfg(feature = "keys")]
mod key_provider;
mod leaks;
#[cfg(feature = "keys")]
mod pem_key;
#[cfg(all(feature = "servers", target_os = "linux"))]
mod reserved_port;
#[cfg(feature = "jsonwebtoken")]
mod ring_provider;
#[cfg(feature = "servers")]
pub mod server;
#[cfg(feature = "keys")]
mod test_key;
mod transcript;

#[cfg(feature = "pki")]
pub use authority::{Authority, Leaf};
#[cfg(feature = "log")]
pub use captured_log::{CapturedLog, LogLine};
pub use cases::{assert_every_case_has_a_test, names_of_files};
#[cfg(feature = "pki")]
pub use certificate::{CertificateBuilder, p256_key, shared_p256_key};
pub use child_process::ChildProcess;
#[cfg(feature = "attestation")]
pub use fake_attestation::FakeAttestation;
#[cfg(feature = "keys")]
pub use key_provider::FixedKeyProvider;
pub use leaks::assert_no_leak;
#[cfg(feature = "keys")]
pub use pem_key::PemKey;
#[cfg(all(feature = "servers", target_os = "linux"))]
pub use reserved_port::ReservedPort;
#[cfg(feature = "jsonwebtoken")]
pub use ring_provider::RING;
#[cfg(feature = "keys")]
pub use test_key::{TestKey, shared_key};
pub use transcript::lines_match;
