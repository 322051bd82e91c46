//! Certificate stores: <https://learn.microsoft.com/windows/win32/seccrypto/certificate-stores>.
use super::super::status::Status;
use super::super::store_path::{StoreLocation, StorePath};
use super::{CertificateContext, counted, status};
use windows::Win32::Foundation::ERROR_FILE_NOT_FOUND;
use windows::Win32::Security::Cryptography::{
    CERT_OPEN_STORE_FLAGS, CERT_QUERY_ENCODING_TYPE, CERT_STORE_ADD_REPLACE_EXISTING,
    CERT_STORE_CTRL_COMMIT, CERT_STORE_CTRL_COMMIT_FORCE_FLAG, CERT_STORE_OPEN_EXISTING_FLAG,
    CERT_STORE_PROV_SYSTEM_W, CERT_STORE_READONLY_FLAG, CERT_SYSTEM_STORE_CURRENT_USER,
    CERT_SYSTEM_STORE_LOCAL_MACHINE, CertAddCertificateContextToStore, CertCloseStore,
    CertControlStore, CertDeleteCertificateFromStore, CertEnumCertificatesInStore, CertOpenStore,
    HCERTSTORE,
};
use windows::core::HSTRING;

/// An open store.
#[derive(Debug)]
pub(in super::super) struct Store(HCERTSTORE);

impl Store {
    /// Opens a store for reading. `None` if no store has this name.
    pub(in super::super) fn read(path: &StorePath) -> Result<Option<Self>, Status> {
        match Self::open(
            path,
            CERT_STORE_READONLY_FLAG | CERT_STORE_OPEN_EXISTING_FLAG,
        ) {
            Err(status) if status.0 == ERROR_FILE_NOT_FOUND.to_hresult().0.cast_unsigned() => {
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    /// Opens a store for writing.
    pub(super) fn write(path: &StorePath) -> Result<Self, Status> {
        Self::open(path, CERT_OPEN_STORE_FLAGS(0))
    }

    fn open(path: &StorePath, flags: CERT_OPEN_STORE_FLAGS) -> Result<Self, Status> {
        let location = CERT_OPEN_STORE_FLAGS(match path.location() {
            StoreLocation::CurrentUser => CERT_SYSTEM_STORE_CURRENT_USER,
            StoreLocation::LocalMachine => CERT_SYSTEM_STORE_LOCAL_MACHINE,
        });
        let name = HSTRING::from(path.name());
        // SAFETY: the parameter of a system store is its name, which is zero-terminated.
        let store = unsafe {
            CertOpenStore(
                CERT_STORE_PROV_SYSTEM_W,
                CERT_QUERY_ENCODING_TYPE(0),
                None,
                location | flags,
                Some(name.as_ptr().cast()),
            )
        }
        .map_err(|error| status(&error))?;
        counted::add(1);
        Ok(Self(store))
    }

    /// The certificates in it, at most 4096.
    pub(in super::super) fn certificates(&self) -> Vec<CertificateContext> {
        let mut found: Vec<CertificateContext> = Vec::new();
        while found.len() < MAX_CERTIFICATES {
            let previous = found.last().cloned().map(CertificateContext::into_ptr);
            // SAFETY: the store is open until `self` is dropped. The function frees the reference to the previous context.
            let next = unsafe { CertEnumCertificatesInStore(self.0, previous) };
            // SAFETY: the pointer is null or a context, whose reference is the caller's.
            match unsafe { CertificateContext::from_ptr(next) } {
                Some(context) => found.push(context),
                None => break,
            }
        }
        found
    }

    /// Adds a certificate with its properties, in place of the same certificate if that is present.
    pub(super) fn add(&self, context: &CertificateContext) -> Result<(), Status> {
        // SAFETY: store and context are open; the context is copied.
        unsafe {
            CertAddCertificateContextToStore(
                Some(self.0),
                context.as_ptr(),
                CERT_STORE_ADD_REPLACE_EXISTING,
                None,
            )
        }
        .map_err(|error| status(&error))?;
        self.commit()
    }

    /// Removes the certificate with this DER, if it is present.
    pub(super) fn remove(&self, der: &[u8]) -> Result<(), Status> {
        for context in self.certificates() {
            if context.der() == der {
                // SAFETY: the function frees the reference, on failure too.
                unsafe { CertDeleteCertificateFromStore(context.into_ptr()) }
                    .map_err(|error| status(&error))?;
            }
        }
        self.commit()
    }

    /// Writes the changes, so that other processes see them.
    fn commit(&self) -> Result<(), Status> {
        // SAFETY: the store is open.
        unsafe {
            CertControlStore(
                self.0,
                CERT_STORE_CTRL_COMMIT_FORCE_FLAG,
                CERT_STORE_CTRL_COMMIT,
                None,
            )
        }
        .map_err(|error| status(&error))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        counted::add(-1);
        // SAFETY: the store is open and not used again; its contexts stay valid.
        if let Err(error) = unsafe { CertCloseStore(Some(self.0), 0) } {
            tracing::warn!(status = %status(&error), "a certificate store could not be closed");
        }
    }
}

const MAX_CERTIFICATES: usize = 4096;
