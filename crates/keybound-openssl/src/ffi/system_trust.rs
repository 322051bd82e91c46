//! The system's trust anchors. Reading some hundred certificates takes longer than a handshake: they are cached for the process and
//! read again when their file or directory has changed. Anchors that cannot be read are not trusted, and handshakes fail.
#[cfg(not(windows))]
#[path = "system_trust/unix.rs"]
mod platform;
#[cfg(windows)]
#[path = "system_trust/windows.rs"]
mod platform;

use super::library_context::LibraryContext;
use super::native;
use foreign_types::ForeignType as _;
use keybound_core::lock;
use openssl::error::ErrorStack;
use openssl::ssl::SslContextBuilder;
use openssl::x509::X509;
use openssl::x509::store::X509Store;
use platform::HostAnchors;
use std::sync::Mutex;

/// The cache of the system's trust anchors.
#[derive(Default)]
pub(super) struct SystemTrust(Mutex<Option<CachedStores>>);

struct CachedStores {
    anchors: HostAnchors,
    system: X509Store,
    /// Stores with further anchors, by those (DER), the last used at the end.
    extended: Vec<(Vec<Vec<u8>>, X509Store)>,
}

impl SystemTrust {
    /// Sets the trust anchors of a TLS context: the system's and more.
    pub(super) fn apply(
        &self,
        library: &LibraryContext,
        builder: &mut SslContextBuilder,
        more: Vec<Vec<u8>>,
    ) -> Result<(), ErrorStack> {
        let mut cached = lock(&self.0);
        let cached = current(&mut cached, library, HostAnchors::find())?;
        let store = match more.is_empty() {
            true => &cached.system,
            false => cached.extended(library, more)?,
        };
        // SAFETY: both are alive; the context takes its own reference to the store.
        unsafe { native::SSL_CTX_set1_cert_store(builder.as_ptr(), store.as_ptr()) };
        Ok(())
    }

    /// A separate store with the system's anchors and more.
    #[cfg(any(feature = "openssl", feature = "rustls"))]
    pub(super) fn copy(
        &self,
        library: &LibraryContext,
        more: &[Vec<u8>],
    ) -> Result<X509Store, ErrorStack> {
        let mut cached = lock(&self.0);
        current(&mut cached, library, HostAnchors::find())?.extend(library, more)
    }

    /// Reads the anchors, so that no connection waits for them later.
    pub(super) fn warm_up(&self, library: &LibraryContext) -> Result<(), ErrorStack> {
        let mut cached = lock(&self.0);
        current(&mut cached, library, HostAnchors::find()).map(drop)
    }
}

/// The cached stores, read again if the anchors have changed.
fn current<'a>(
    cached: &'a mut Option<CachedStores>,
    library: &LibraryContext,
    anchors: HostAnchors,
) -> Result<&'a mut CachedStores, ErrorStack> {
    match cached.take().filter(|cached| cached.anchors == anchors) {
        Some(fresh) => Ok(cached.insert(fresh)),
        None => Ok(cached.insert(CachedStores {
            system: anchors.store(library, true)?,
            anchors,
            extended: Vec::new(),
        })),
    }
}

impl CachedStores {
    fn extended(
        &mut self,
        library: &LibraryContext,
        more: Vec<Vec<u8>>,
    ) -> Result<&X509Store, ErrorStack> {
        let entry = match self
            .extended
            .iter()
            .position(|(anchors, _)| *anchors == more)
        {
            Some(index) => self.extended.remove(index),
            None => {
                let store = self.extend(library, &more)?;
                (more, store)
            }
        };
        if self.extended.len() == MAX_EXTENDED {
            self.extended.remove(0);
        }
        self.extended.push(entry);
        let (_, store) = &self.extended[self.extended.len() - 1];
        Ok(store)
    }

    fn extend(&self, library: &LibraryContext, more: &[Vec<u8>]) -> Result<X509Store, ErrorStack> {
        let mut store = self.anchors.store(library, false)?;
        for certificate in self.system.all_certificates().iter() {
            add(&mut store, &certificate.to_owned())?;
        }
        for der in more {
            add(&mut store, &library.anchor(der)?)?;
        }
        Ok(store)
    }
}

fn add(store: &mut X509Store, certificate: &X509) -> Result<(), ErrorStack> {
    // SAFETY: both are alive; the store takes its own reference to the certificate.
    let added = unsafe { openssl_sys::X509_STORE_add_cert(store.as_ptr(), certificate.as_ptr()) };
    if added == 1 {
        Ok(())
    } else {
        Err(ErrorStack::get())
    }
}

/// A program has one CA file, and possibly one for loopback; tests have many.
const MAX_EXTENDED: usize = 8;

#[cfg(test)]
#[cfg(not(windows))]
mod tests {
    use super::*;
    use openssl::stack::Stack;
    use openssl::x509::X509StoreContext;
    use openssl::x509::store::X509StoreBuilder;
    use std::fs;

    /// The certificates of the host's file of CA certificates.
    fn host_certificates() -> Vec<X509> {
        let files = [
            "/etc/ssl/certs/ca-certificates.crt",
            "/etc/pki/tls/certs/ca-bundle.crt",
        ];
        let file = files.iter().find_map(|file| fs::read(file).ok());
        let file = file.expect("the host has no CA certificates: install ca-certificates");
        X509::stack_from_pem(&file).unwrap()
    }

    pub(super) fn trusts(store: &X509Store, certificate: &X509) -> bool {
        let chain = Stack::new().unwrap();
        X509StoreContext::new()
            .unwrap()
            .init(store, certificate, &chain, |context| context.verify_cert())
            .unwrap()
    }

    #[test]
    fn trusts_the_hosts_certificates_only() {
        let library = LibraryContext::get().unwrap();
        let certificates = host_certificates();
        let mut cached = None;
        let cached = current(&mut cached, library, HostAnchors::find()).unwrap();
        let extended = cached.extend(library, &[]).unwrap();
        let empty = X509StoreBuilder::new().unwrap().build();
        let trusted = |store: &X509Store| {
            let certificates = certificates.iter();
            certificates
                .filter(|certificate| trusts(store, certificate))
                .count()
        };
        // Some may have expired.
        assert!(trusted(&cached.system) > 0);
        assert_eq!(trusted(&extended), trusted(&cached.system));
        assert_eq!(trusted(&empty), 0);
    }

    #[test]
    fn reads_certificates_again_after_their_file_has_changed() {
        let library = LibraryContext::get().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let place = || {
            let path = |name| folder.path().join(name);
            HostAnchors::at((path("cert.pem"), path("certs")))
        };
        let anchor = |name| keybound_testing::Leaf::self_signed(name).certificate;
        let (first, second) = (anchor("first"), anchor("the second"));
        let mut cached = None;
        for (file, trusted) in [
            (None, [false, false]),
            (Some(&first), [true, false]),
            (Some(&second), [false, true]),
        ] {
            if let Some(certificate) = file {
                let pem = certificate.to_pem().unwrap();
                fs::write(folder.path().join("cert.pem"), pem).unwrap();
            }
            let stores = current(&mut cached, library, place()).unwrap();
            assert_eq!(stores.extended.len(), 0);
            stores.extended(library, Vec::new()).unwrap();
            let stores = current(&mut cached, library, place()).unwrap();
            assert_eq!(stores.extended.len(), 1);
            for store in [&stores.system, &stores.extended[0].1] {
                let found = [&first, &second].map(|certificate| trusts(store, certificate));
                assert_eq!(found, trusted);
            }
        }
    }
}
