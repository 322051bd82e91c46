//! Keys and certificates of Windows: CNG key storage providers, the certificate store, what processes share by name.
//!
//! What decides stands over a narrow api to the functions of Windows and is tested everywhere; `native` is that
//! api on Windows itself.
#[cfg(windows)]
mod certificate;
mod checks;
mod container;
mod existing;
#[cfg(test)]
mod fake_ncrypt;
mod handle;
mod key;
mod msal_certificate_cache;
mod names;
#[cfg(windows)]
mod native;
mod ncrypt_api;
#[cfg(test)]
#[cfg(windows)]
mod on_windows;
mod provider;
mod status;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

#[cfg(windows)]
pub use certificate::{
    CertificateError, NativeCertificate, WindowsCertificate, WindowsCertificateMetadata,
};
pub use key::CngKey;
pub use msal_certificate_cache::{MsalCertificateCache, PersistedCertificate, Turn};
#[cfg(windows)]
pub(crate) use native::bcrypt as signatures;
#[cfg(windows)]
pub use native::store::{StoreLocation, StorePath};
#[cfg(windows)]
pub use native::{make_private_folder, open_private_file};
pub use provider::CngProvider;
