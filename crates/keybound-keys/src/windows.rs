//! Keys and certificates of Windows: CNG key storage providers, the certificate store, what processes share by name.
//!
//! What decides stands over a narrow border to the functions of Windows and is tested everywhere; `native` is that
//! border on Windows itself.
mod border;
#[cfg(windows)]
mod certificate;
mod checks;
mod container;
mod existing;
mod handle;
mod key;
mod names;
#[cfg(windows)]
mod native;
#[cfg(test)]
#[cfg(windows)]
mod on_windows;
mod persistence;
mod provider;
#[cfg(test)]
mod scripted;
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
#[cfg(windows)]
pub(crate) use native::bcrypt as signatures;
#[cfg(windows)]
pub use native::store::{StoreLocation, StorePath};
#[cfg(windows)]
pub use native::{make_private_folder, open_private_file};
pub use persistence::{PersistedCertificate, Persistence, Turn};
pub use provider::CngProvider;
