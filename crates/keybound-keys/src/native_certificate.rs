//! One name for the type on all platforms, so that the trait of keys has one shape.
#[cfg(windows)]
pub use crate::windows::NativeCertificate;

/// A certificate context of Windows with its key. There is no value of it on other platforms.
#[cfg(not(windows))]
#[derive(Debug)]
#[non_exhaustive]
pub enum NativeCertificate {}
