use super::key_prov_info::KeyProvInfo;
use super::status::Status;
use super::store_path::StorePath;
use super::windows_api::WindowsApi;
use keybound_core::Certificate;
use std::sync::Arc;

/// A certificate of a store, with the properties in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertificateEntry {
    pub(crate) der: Vec<u8>,
    /// Empty if it has none.
    pub(crate) friendly_name: String,
    /// The container of its key; `None` if it has no key.
    pub(crate) key: Option<KeyProvInfo>,
}

/// A certificate store of Windows. Failures are logged.
#[derive(Clone, Debug)]
pub(crate) struct CertificateStore {
    pub(crate) api: Arc<dyn WindowsApi>,
    pub(crate) path: StorePath,
}

impl CertificateStore {
    /// All certificates.
    pub(crate) fn entries(&self) -> Vec<CertificateEntry> {
        self.api.certificates(&self.path).unwrap_or_else(|status| {
            tracing::warn!(%status, "the certificate store could not be read");
            Vec::new()
        })
    }

    /// Adds a certificate in place of the same certificate, if that is present. Returns whether it was added.
    pub(crate) fn add(&self, entry: &CertificateEntry) -> bool {
        let result = self.api.add_certificate(&self.path, entry);
        log("added to", result);
        result.is_ok()
    }

    /// Removes the certificate with this DER.
    pub(crate) fn remove(&self, der: &[u8]) {
        log("removed from", self.api.remove_certificate(&self.path, der));
    }

    /// Removes the certificates of managed identities that name a container and are for another public key than its current
    /// one, which is lost. Programs that find certificates by the container's name, MSAL .NET among them, do not compare
    /// public keys and would use them.
    pub(crate) fn remove_of_lost_keys(&self, container: &KeyProvInfo, public_key: &[u8]) {
        for entry in self.entries() {
            let names_container = |key: &KeyProvInfo| key.is_same(container);
            if entry.key.as_ref().is_some_and(names_container)
                && Certificate::from_der(&entry.der).is_ok_and(|certificate| {
                    certificate.names_managed_identity_issuer()
                        && certificate.public_key_der() != public_key
                })
            {
                self.remove(&entry.der);
            }
        }
    }
}

fn log(action: &str, result: Result<(), Status>) {
    match result {
        Ok(()) => tracing::debug!("a certificate was {action} the certificate store"),
        Err(status) => {
            tracing::warn!(%status, "a certificate could not be {action} the certificate store");
        }
    }
}
