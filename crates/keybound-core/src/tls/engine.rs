use std::fmt;

/// The TLS library of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsEngine {
    /// SChannel on Windows, OpenSSL elsewhere. Features of this crate do not change it.
    #[default]
    Automatic,
    /// As [`Automatic`](Self::Automatic), but on Windows OpenSSL for what SChannel does not support: certificates whose keys
    /// are not in Windows, and further trust anchors. That requires the features of [`OpenSsl`](Self::OpenSsl).
    SystemOrOpenSsl,
    /// OpenSSL 3. On Windows it requires one of the features `openssl-vendored`, `openssl` and `rustls`.
    OpenSsl,
    /// The TLS implementation of Windows. It trusts the certificate stores of Windows and presents certificates whose keys
    /// are in Windows (`BindingKey::native_certificate`).
    SChannel,
}

impl fmt::Display for TlsEngine {
    /// `OpenSSL`, `SChannel`, `automatic`, `SChannel or OpenSSL`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Automatic => "automatic",
            Self::SystemOrOpenSsl => "SChannel or OpenSSL",
            Self::OpenSsl => "OpenSSL",
            Self::SChannel => "SChannel",
        })
    }
}
