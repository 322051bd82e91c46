//! Binding keys, which sign and are never exported, and stores of certificates for them.
//!
//! A [`BindingKey`] is the interface of a key to all other crates. `memory` has keys in the process; on Windows, `windows` has
//! keys in CNG (KeyGuard, the TPM, or software), and `memory` requires the feature `openssl-vendored`. A [`ProviderChain`]
//! opens the best key of the host and enforces the caller's minimum key strength. A [`BindingStore`] stores certificates.
#![deny(unsafe_code)]

mod binding_store;
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
pub use binding_store::{BindingStore, IssuanceLock, StoredBinding};
pub use chain::{KeyProvider, ProviderChain, ProviderStatus};
pub use cng::CngHandle;
pub use gate::KeyGate;
pub use gated::GatedKey;
pub use identity::ClientIdentity;
pub use key::{BindingKey, KeyError, KeyErrorKind, SignatureScheme, SigningCost};
pub use keybound_core::KeyStrength;
pub use last_error::LastKeyError;
pub use native_certificate::NativeCertificate;
pub use verify::{self_test, sign_verified, verify};
