//! An OpenSSL 3 provider whose RSA keys are [`BindingKey`](keybound_keys::BindingKey)s.
//!
//! It does not link libcrypto: libcrypto calls it, and passes the functions that it needs as pointers when it loads it.
//! A program registers [`init`] with `OSSL_PROVIDER_add_builtin`, offers a [`Key`] with [`Offer`], and generates an
//! `EVP_PKEY` with the handle of the offer as [`KEY_PARAM`].

mod abi;
mod key;
mod keymgmt;
mod module;
mod signature;

// The public interface.
pub use abi::{Dispatch, Param};
pub use key::Key;
pub use keymgmt::{KEY_PARAM, Offer};
pub use module::{NAME, PROPERTIES, init};
