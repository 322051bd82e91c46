//! Binding keys: keys that sign and never yield their bytes.
//!
//! A [`BindingKey`] is all that the rest of Keybound knows of a key. Where it lives is a provider's concern:
//! `memory` keeps it in the process; on Windows, `windows` keeps it in CNG (KeyGuard, the TPM, or software), and `memory`
//! is there with the feature `openssl-vendored` only. A [`ProviderChain`] takes the best key that the host offers and
//! enforces the caller's floor.
#![deny(unsafe_code)]

mod chain;
mod cng;
#[doc(hidden)]
pub mod fuzz;
mod gate;
mod gated;
mod identity;
mod key;
mod last_error;
#[cfg(any(not(windows), feature = "openssl-engine", test))]
pub mod memory;
mod native_certificate;
mod rsa_blob;
mod verify;
#[cfg(any(windows, test))]
pub mod windows;

// The public interface.
pub use chain::{KeyProvider, ProviderChain, ProviderStatus};
pub use cng::CngHandle;
pub use gate::KeyGate;
pub use gated::GatedKey;
pub use identity::ClientIdentity;
pub use key::{BindingKey, KeyError, KeyErrorKind, SignatureScheme, SigningCost};
pub use keybound_core::KeyStrength;
pub use last_error::LastKeyError;
pub use native_certificate::NativeCertificate;
pub use verify::{self_test, verify};
