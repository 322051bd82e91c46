use keybound_core::{BindingCacheKey, Certificate, Guid};
use std::any::Any;
use std::fmt;
use std::time::Duration;

/// Stores certificates for later processes of this host, with the name of their key. Best effort: a store cannot fail an
/// acquisition, and delays one for its timeouts at most.
///
/// The methods may block: they are called on blocking threads, sixteen at most. A method that never returns occupies its
/// thread, and a runtime that is dropped waits for it. Only [`load_timeout`](Self::load_timeout) and
/// [`lock_timeout`](Self::lock_timeout) are called on any thread and return immediately.
pub trait BindingStore: Send + Sync + fmt::Debug {
    /// All entries of a key, in any order.
    fn load(&self, key: &BindingCacheKey) -> Vec<StoredBinding>;

    /// Adds an entry.
    fn save(&self, key: &BindingCacheKey, entry: &StoredBinding);

    /// Removes the entry with this certificate, if there is one.
    fn remove(&self, key: &BindingCacheKey, certificate: &Certificate);

    /// Locks the issuance of certificates for a key against other processes of this host, so that processes that start at the
    /// same time share one certificate: after the lock is acquired, the store is loaded again. The lock is released when the
    /// value is dropped, after the certificate is saved. `None` if the store has no locks (the default), or if another
    /// process holds the lock for too long.
    fn lock_issuance(&self, _key: &BindingCacheKey) -> Option<IssuanceLock> {
        None
    }

    /// The timeout of [`load`](Self::load), after which an acquisition continues without stored certificates. Default: two
    /// seconds.
    fn load_timeout(&self) -> Duration {
        Duration::from_secs(2)
    }

    /// The timeout of [`lock_issuance`](Self::lock_issuance), after which an acquisition continues without the lock. Default:
    /// ten seconds.
    fn lock_timeout(&self) -> Duration {
        Duration::from_secs(10)
    }
}

/// The lock of [`BindingStore::lock_issuance`]: dropping it releases the lock.
pub type IssuanceLock = Box<dyn Any + Send>;

/// An entry of a store. A store saves every field and returns it unchanged; it need not interpret them. A loaded
/// entry is checked like a response of IMDS, and is not used if a check fails.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a store saves every field; a new one must break the stores"
)]
pub struct StoredBinding {
    /// The certificate.
    pub certificate: Certificate,
    /// The client id of the identity.
    pub client_id: Guid,
    /// The tenant of the identity.
    pub tenant_id: Guid,
    /// `identity_type` of the response of IMDS.
    pub identity_type: String,
    /// The mTLS endpoint of the response of IMDS.
    pub endpoint: String,
    /// The token endpoint of the response of IMDS.
    pub token_endpoint: String,
    /// The name under which the key is opened again.
    pub key_name: String,
}
