use super::store_path::{StoreLocation, StorePath};
use crate::KeyError;

/// A certificate from the Windows certificate store could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The thumbprint is neither 40 nor 64 hexadecimal digits: correct it.
    #[error("a thumbprint is 40 (SHA-1) or 64 (SHA-256) hexadecimal digits")]
    MalformedThumbprint,
    /// No such certificate is in this store: check the certificate's name and the store's location.
    #[error("no such certificate is in {} {}", .0, owner_of(.0))]
    NotFound(StorePath),
    /// The key is in a CryptoAPI provider: import the certificate with its key again, into a CNG provider.
    #[error(
        "the certificate's key is in a legacy CryptoAPI provider; only keys in CNG are used: import it again by `certutil \
         -csp \"Microsoft Software Key Storage Provider\" -importpfx FILE` (`certutil -user …` for the stores of this \
         account)"
    )]
    LegacyKey,
    /// The certificate has no key.
    #[error("the certificate has no private key")]
    NoPrivateKey,
    /// The key in the container is not the certificate's: it was replaced.
    #[error("the certificate is for another key than the one in its container")]
    KeyMismatch,
    /// It was closed: find it in the store again.
    #[error("the certificate has been closed: find it in the store again")]
    Closed,
    /// The key could not be opened, or does not meet the requirements.
    #[error("the certificate's key cannot be used")]
    Key(#[source] KeyError),
    /// The store could not be opened: those of the machine may require an administrator.
    #[error("the certificate store {store} ({}) could not be opened", owner_of(.store))]
    Store {
        /// The store.
        store: StorePath,
        /// The status of Windows.
        source: keybound_core::BoxError,
    },
    /// Windows could not create a context of the certificate with its key.
    #[error("windows cannot associate the certificate with its key")]
    Context(#[source] keybound_core::BoxError),
}

fn owner_of(path: &StorePath) -> &'static str {
    match path.location() {
        StoreLocation::CurrentUser => "of the account that this program runs as",
        StoreLocation::LocalMachine => "of the machine, which may require an administrator",
    }
}
