//! The issuers' keys: where they come from, and when they are fetched.
mod fetcher;
mod issuer_keys;
mod key_file;
mod key_refresh;
mod key_set;
mod key_status;
mod key_store;
mod shared_keys;
mod verification_key;

pub use fetcher::{FetchError, FetchFuture, KeyFetcher};
pub(crate) use issuer_keys::{IssuerKeys, RunningRefresh};
pub use key_file::{KeyFile, KeyFileError, PublishedKeys};
pub use key_refresh::KeyRefresh;
pub(crate) use key_refresh::https_origin;
pub use key_set::{KeySet, KeySetError};
pub use key_status::KeyStatus;
pub use key_store::Keys;
pub(crate) use key_store::{FoundKey, KeyStore};
pub use shared_keys::SharedKeys;
pub(crate) use verification_key::VerificationKey;
