//! Binding keys: keys that sign and never yield their bytes.
//!
//! A [`BindingKey`] is all that the rest of Keybound knows of a key. Where it lives is a provider's concern:
//! [`memory`] keeps it in the process; Windows CNG (KeyGuard, platform, software) and TPM 2.0 are places of their own.
//! A [`ProviderChain`] takes the best key that the host offers and enforces the caller's floor.
#![deny(unsafe_code)]

mod chain;
mod cng;
mod key;
pub mod memory;
mod verify;

// The public interface.
pub use chain::{KeyProvider, ProviderChain};
pub use cng::CngHandle;
pub use key::{BindingKey, KeyError, KeyErrorKind, SignatureScheme, SigningCost};
pub use keybound_core::KeyStrength;
pub use verify::{self_test, verify};
