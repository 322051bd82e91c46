//! An OpenSSL 3 provider whose RSA keys are [`BindingKey`](keybound_keys::BindingKey)s.
//!
//! It does not link libcrypto: libcrypto calls it, and passes pointers to the functions that it needs when it loads it. A program adds
//! [`init`] with `OSSL_PROVIDER_add_builtin`, registers a [`Key`] with [`RegisteredKey`], and generates an `EVP_PKEY` with the
//! handle of the registration as [`KEY_PARAM`].

mod abi;
mod key;
mod keymgmt;
mod provider_context;
mod signature;

// The public interface.
pub use abi::{Dispatch, Param};
pub use key::Key;
pub use keymgmt::{KEY_PARAM, RegisteredKey};
pub use provider_context::{NAME, PROPERTIES, init};
