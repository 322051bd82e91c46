//! A key provider and a certificate store outside of Keybound: a key in a file, and a directory with certificates for later
//! processes. `keybound` is the only crate of the project that it depends on.
//!
//! A key in a file is a software key: its bytes can be copied, and nothing attests it. As of 2026 a real IMDS issues
//! certificates for attested KeyGuard keys only, so this crate is for the emulator, and a pattern for other keys and stores.

mod file_key;
mod folder_store;

pub use file_key::FileKeyProvider;
pub use folder_store::FolderStore;
