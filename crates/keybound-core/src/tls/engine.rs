use std::fmt;

/// The TLS library under a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsEngine {
    /// The system's: SChannel on Windows, OpenSSL elsewhere. Features of this crate do not change it.
    #[default]
    Automatic,
    /// The system's; on Windows OpenSSL instead for what SChannel cannot do: present a certificate whose key is not in Windows,
    /// or trust more than Windows trusts. For that it needs what [`OpenSsl`](Self::OpenSsl) needs.
    SystemOrOpenSsl,
    /// OpenSSL 3. On Windows it is there with one of the features `openssl-vendored`, `openssl` and `rustls`.
    OpenSsl,
    /// Windows' own. It trusts what the certificate stores of Windows trust, and presents certificates whose keys
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
