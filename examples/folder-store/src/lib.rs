//! What a program adds to Keybound without being part of it: a key in a file, and a folder that stores certificates for later
//! processes. The only crate of Keybound's that this one needs is `keybound`.
//!
//! A key in a file is a software key: its bytes can be copied, and nothing attests it. As of 2026 a real IMDS issues
//! certificates for attested KeyGuard keys only, so this is for the emulator, and a pattern for keys and stores of your own.

mod file_key;
mod folder_store;

pub use file_key::FileKeyProvider;
pub use folder_store::FolderStore;
