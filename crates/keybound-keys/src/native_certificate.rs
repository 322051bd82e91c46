//! One type name on all platforms, so that [`BindingKey`](crate::BindingKey) has the same methods everywhere.
#[cfg(windows)]
pub use crate::windows::NativeCertificate;

/// A `CERT_CONTEXT` with its key. The type has no values on other platforms than Windows.
#[cfg(not(windows))]
#[derive(Debug)]
#[non_exhaustive]
pub enum NativeCertificate {}
