//! A system store with the certificates of managed identities.
use super::super::msal_certificate_cache::{CertificateStore, Entry};
use super::super::names::MutexName;
use super::super::ncrypt_api::Lock;
use super::super::status::Status;
use super::store::StorePath;
use super::{CertificateContext, Store, mutex};
use std::time::Duration;

/// A system store.
#[derive(Debug)]
pub(in super::super) struct SystemCertificateStore(StorePath);

impl SystemCertificateStore {
    pub(in super::super) fn new(path: StorePath) -> Self {
        Self(path)
    }
}

impl CertificateStore for SystemCertificateStore {
    fn entries(&self) -> Result<Vec<Entry>, Status> {
        let Some(store) = Store::read(&self.0)? else {
            return Ok(Vec::new());
        };
        let entry = |context: CertificateContext| Entry {
            friendly_name: context.friendly_name().unwrap_or_default(),
            der: context.der().to_vec(),
            key: context.key_place(),
        };
        Ok(store.certificates().into_iter().map(entry).collect())
    }

    fn add(&self, entry: &Entry) -> Result<(), Status> {
        // All of it is there before it goes into the store, in one piece.
        let mut context = CertificateContext::of_der(&entry.der)?;
        context.set_friendly_name(&entry.friendly_name)?;
        if let Some(key) = &entry.key {
            context.set_key_place(key)?;
        }
        Store::write(&self.0)?.add(&context)
    }

    fn remove(&self, der: &[u8]) -> Result<(), Status> {
        Store::write(&self.0)?.remove(der)
    }

    fn lock(&self, name: &MutexName, longest: Duration) -> Lock {
        mutex::lock(name, longest)
    }
}
