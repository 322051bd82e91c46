//! Keys and certificates of Windows: CNG key storage providers, certificate stores, and the names that processes share.
//!
//! `native` calls Windows. Everything else uses its functions through the trait `WindowsApi`, and is tested on all platforms.
mod binding_store;
#[cfg(windows)]
mod certificate;
mod certificate_error;
mod certificate_key;
mod certificate_store;
mod checks;
mod container;
mod friendly_name;
mod handle;
mod key;
mod key_prov_info;
mod mutex_name;
#[cfg(windows)]
mod native;
#[cfg(windows)]
mod native_certificate;
#[cfg(test)]
#[cfg(windows)]
mod on_windows;
mod provider;
mod status;
mod store_path;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod windows_api;

pub use binding_store::WindowsBindingStore;
#[cfg(windows)]
pub use certificate::{WindowsCertificate, WindowsCertificateMetadata};
pub use certificate_error::CertificateError;
pub use key::CngKey;
#[cfg(windows)]
pub(crate) use native::bcrypt;
#[cfg(windows)]
pub use native::{make_private_folder, open_private_file, open_service_file};
#[cfg(windows)]
pub use native_certificate::NativeCertificate;
#[cfg(windows)]
pub(crate) use provider::platform_providers;
pub use store_path::{StoreLocation, StorePath};
