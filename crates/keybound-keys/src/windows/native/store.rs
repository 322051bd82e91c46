//! Certificate stores: <https://learn.microsoft.com/windows/win32/seccrypto/certificate-stores>.
use super::super::status::Status;
use super::{CertificateContext, counted, status};
use std::fmt;
use std::str::FromStr;
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

/// Whose certificate store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreLocation {
    /// This user's.
    CurrentUser,
    /// The host's.
    LocalMachine,
}

/// A certificate store of Windows, such as `CurrentUser\My`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StorePath {
    location: StoreLocation,
    name: String,
}

impl StorePath {
    /// The store of this location and name. The name is `My` for certificates with keys.
    pub fn new(location: StoreLocation, name: impl Into<String>) -> Self {
        Self {
            location,
            name: name.into(),
        }
    }

    /// Whose it is.
    pub fn location(&self) -> StoreLocation {
        self.location
    }

    /// `CurrentUser\My`, the one that MSAL keeps certificates in.
    pub fn current_user_my() -> Self {
        Self::new(StoreLocation::CurrentUser, "My")
    }
}

impl FromStr for StorePath {
    type Err = &'static str;

    /// Reads `CurrentUser\My`, `LocalMachine\My` and the like; case does not matter, `/` does for `\`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rule = "a certificate store is named CurrentUser\\My or LocalMachine\\My";
        let (location, name) = text.split_once(['\\', '/']).ok_or(rule)?;
        let location = match location.to_ascii_lowercase().as_str() {
            "currentuser" => StoreLocation::CurrentUser,
            "localmachine" => StoreLocation::LocalMachine,
            _ => return Err(rule),
        };
        let is_name = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b" -_".contains(&byte));
        is_name.then(|| Self::new(location, name)).ok_or(rule)
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let location = match self.location {
            StoreLocation::CurrentUser => "CurrentUser",
            StoreLocation::LocalMachine => "LocalMachine",
        };
        write!(f, "{location}\\{}", self.name)
    }
}

/// An open store.
#[derive(Debug)]
pub(in super::super) struct Store(HCERTSTORE);

impl Store {
    /// Opens a store to be read. `None` where there is none of this name.
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

    /// Opens a store to be changed.
    pub(in super::super) fn write(path: &StorePath) -> Result<Self, Status> {
        Self::open(path, CERT_OPEN_STORE_FLAGS(0))
    }

    fn open(path: &StorePath, flags: CERT_OPEN_STORE_FLAGS) -> Result<Self, Status> {
        let location = CERT_OPEN_STORE_FLAGS(match path.location {
            StoreLocation::CurrentUser => CERT_SYSTEM_STORE_CURRENT_USER,
            StoreLocation::LocalMachine => CERT_SYSTEM_STORE_LOCAL_MACHINE,
        });
        let name = HSTRING::from(&path.name);
        // SAFETY: a system store takes its name, which ends with a zero.
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

    /// The certificates in it, a few thousand at most.
    pub(in super::super) fn certificates(&self) -> Vec<CertificateContext> {
        let mut found = Vec::new();
        let mut current = None;
        loop {
            // SAFETY: the store is open until `self` is dropped; the context before is given back to be freed.
            let next = unsafe { CertEnumCertificatesInStore(self.0, current) };
            if next.is_null() {
                return found;
            }
            // SAFETY: it is not freed before the next turn.
            found.extend(unsafe { CertificateContext::share(next) });
            current = Some(next.cast_const());
            if found.len() == MOST_CERTIFICATES {
                // SAFETY: the walk ends here, so that nobody else frees it.
                let _ = unsafe {
                    windows::Win32::Security::Cryptography::CertFreeCertificateContext(current)
                };
                return found;
            }
        }
    }

    /// Adds a certificate with its properties, in the place of the same certificate if it is there, and has it written.
    pub(in super::super) fn add(&self, context: &CertificateContext) -> Result<(), Status> {
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

    /// Removes the certificate with this DER, if it is there, and has that written.
    pub(in super::super) fn remove(&self, der: &[u8]) -> Result<(), Status> {
        for context in self.certificates() {
            if context.der() == der {
                // SAFETY: the reference is passed on: it is freed in any case.
                unsafe { CertDeleteCertificateFromStore(context.into_ptr()) }
                    .map_err(|error| status(&error))?;
            }
        }
        self.commit()
    }

    /// Other processes see what was changed once it is written.
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
        // SAFETY: the store is open, and nobody has it any more; contexts of it keep what they need.
        if let Err(error) = unsafe { CertCloseStore(Some(self.0), 0) } {
            tracing::warn!(status = %status(&error), "a certificate store could not be closed");
        }
    }
}

const MOST_CERTIFICATES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_and_shown() {
        for (text, shown) in [
            ("CurrentUser\\My", "CurrentUser\\My"),
            ("localmachine/WebHosting", "LocalMachine\\WebHosting"),
        ] {
            let path: StorePath = text.parse().unwrap();
            assert_eq!(path.to_string(), shown);
        }
        for text in [
            "My",
            "CurrentUser\\",
            "Elsewhere\\My",
            "CurrentUser\\a\\b",
            "CurrentUser\\\0",
        ] {
            assert!(text.parse::<StorePath>().is_err(), "{text:?}");
        }
    }
}
