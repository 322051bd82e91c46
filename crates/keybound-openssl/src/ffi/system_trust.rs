//! The system's trust anchors. Reading some hundred certificates takes longer than a handshake: they are cached for the process and
//! read again when their file has changed. Anchors that cannot be read are not trusted, and handshakes fail.
use super::library_context::LibraryContext;
use super::native;
use foreign_types::ForeignType as _;
use keybound_core::lock;
use openssl::error::ErrorStack;
use openssl::ssl::SslContextBuilder;
use openssl::x509::X509;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl_sys::OSSL_LIB_CTX;
use std::ptr::null;
use std::sync::Mutex;
use std::time::SystemTime;

/// The cache of the system's trust anchors.
#[derive(Default)]
pub(super) struct SystemTrust(Mutex<Option<CachedStores>>);

struct CachedStores {
    stamp: Stamp,
    system: X509Store,
    /// Stores with further anchors, by those (DER), the last used at the end.
    extended: Vec<(Vec<Vec<u8>>, X509Store)>,
}

/// The modification time and length of a file.
type Stamp = Option<(SystemTime, u64)>;

impl SystemTrust {
    /// Sets the trust anchors of a TLS context: the system's and more.
    pub(super) fn apply(
        &self,
        library: &LibraryContext,
        builder: &mut SslContextBuilder,
        more: Vec<Vec<u8>>,
    ) -> Result<(), ErrorStack> {
        let mut cached = lock(&self.0);
        let cached = current(&mut cached, library, stamp())?;
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
        current(&mut cached, library, stamp())?.extend(library, more)
    }

    /// Reads the anchors, so that no connection waits for them later.
    pub(super) fn warm_up(&self, library: &LibraryContext) -> Result<(), ErrorStack> {
        let mut cached = lock(&self.0);
        current(&mut cached, library, stamp()).map(drop)
    }
}

/// The cached stores, read again if the file has changed.
fn current<'a>(
    cached: &'a mut Option<CachedStores>,
    library: &LibraryContext,
    stamp: Stamp,
) -> Result<&'a mut CachedStores, ErrorStack> {
    match cached.take().filter(|cached| cached.stamp == stamp) {
        Some(fresh) => Ok(cached.insert(fresh)),
        None => Ok(cached.insert(CachedStores {
            stamp,
            system: read(library.context(), true)?,
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
        let mut store = read(library.context(), false)?;
        for certificate in self.system.all_certificates().iter() {
            add(&mut store, &certificate.to_owned())?;
        }
        for der in more {
            add(&mut store, &library.anchor(der)?)?;
        }
        Ok(store)
    }
}

/// A store with the system's directory, which OpenSSL searches on demand, and optionally the certificates of the system's file. The
/// environment variables that name others are not read.
#[cfg(not(windows))]
fn read(library: *mut OSSL_LIB_CTX, with_file: bool) -> Result<X509Store, ErrorStack> {
    let store = X509StoreBuilder::new()?.build();
    // SAFETY: the store is alive, the paths are constants.
    unsafe {
        let folder = native::X509_get_default_cert_dir();
        let mut loaded =
            native::X509_STORE_load_locations_ex(store.as_ptr(), null(), folder, library, null());
        if with_file {
            let file = native::X509_get_default_cert_file();
            loaded &=
                native::X509_STORE_load_locations_ex(store.as_ptr(), file, null(), library, null());
        }
        if loaded != 1 {
            tracing::debug!(errors = %ErrorStack::get(), "the system's trust anchors cannot be read");
        }
    }
    Ok(store)
}

/// A store that searches the system's stores on demand.
#[cfg(windows)]
fn read(library: *mut OSSL_LIB_CTX, _: bool) -> Result<X509Store, ErrorStack> {
    let store = X509StoreBuilder::new()?.build();
    let uri = c"org.openssl.winstore://";
    // SAFETY: the store is alive, the string is a constant.
    let loaded =
        unsafe { native::X509_STORE_load_store_ex(store.as_ptr(), uri.as_ptr(), library, null()) };
    if loaded != 1 {
        tracing::debug!(errors = %ErrorStack::get(), "the system's trust anchors cannot be read");
    }
    Ok(store)
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

#[cfg(not(windows))]
fn stamp() -> Stamp {
    // SAFETY: the call returns a constant string.
    let file = unsafe { std::ffi::CStr::from_ptr(native::X509_get_default_cert_file()) };
    let metadata = std::fs::metadata(file.to_str().ok()?).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

#[cfg(windows)]
fn stamp() -> Stamp {
    None
}

/// A program has one CA file, and possibly one for loopback; tests have many.
const MAX_EXTENDED: usize = 8;

#[cfg(test)]
#[cfg(not(windows))]
mod tests {
    use super::*;
    use openssl::stack::Stack;
    use openssl::x509::X509StoreContext;
    use std::ffi::CStr;
    use std::fs;
    use std::time::Duration;

    /// The certificates of the host's directory and file of CA certificates.
    fn host_certificates() -> Vec<X509> {
        // SAFETY: both calls return constant strings.
        let [folder, file] = unsafe {
            [
                CStr::from_ptr(native::X509_get_default_cert_dir()),
                CStr::from_ptr(native::X509_get_default_cert_file()),
            ]
        }
        .map(|path| path.to_str().unwrap());
        let in_folder = fs::read_dir(folder).into_iter().flatten();
        let hashed = in_folder.filter_map(|entry| {
            let path = entry.ok()?.path();
            (path.extension()? == "0").then_some(path)
        });
        hashed
            .chain([file.into()])
            .filter_map(|path| X509::stack_from_pem(&fs::read(path).ok()?).ok())
            .flatten()
            .collect()
    }

    fn trusts(store: &X509Store, certificate: &X509) -> bool {
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
        assert!(
            !certificates.is_empty(),
            "the host has no CA certificates: install ca-certificates"
        );
        let mut cached = None;
        let cached = current(&mut cached, library, stamp()).unwrap();
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
        let written = |seconds| Some((SystemTime::UNIX_EPOCH + Duration::from_secs(seconds), 1));
        let mut cached = None;
        for (stamp, extended) in [(written(1), 0), (written(1), 1), (written(2), 0), (None, 0)] {
            let current = current(&mut cached, library, stamp).unwrap();
            assert_eq!(current.extended.len(), extended, "{stamp:?}");
            current.extended(library, Vec::new()).unwrap();
        }
    }
}
