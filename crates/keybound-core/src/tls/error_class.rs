/// The properties of a TLS library's error.
#[derive(Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "each TLS library creates it")]
pub struct TlsErrorClass {
    /// The connection is closed.
    pub closed: bool,
    /// The key failed to sign.
    pub key: bool,
    /// The peer sent an alert with which servers reject a certificate.
    pub certificate_alert: bool,
    /// The host allows none of the requested TLS versions.
    pub no_protocol: bool,
    /// An internal error of the library. While it presents the certificate, a key that fails to sign causes this.
    pub internal: bool,
    /// A record or the client's signature is invalid. Directly after the certificate was presented, it is the signature.
    pub decrypt_error: bool,
}

impl TlsErrorClass {
    /// Adds the properties of another error in the chain of sources.
    pub fn merge(&mut self, other: &Self) {
        self.closed |= other.closed;
        self.key |= other.key;
        self.certificate_alert |= other.certificate_alert;
        self.no_protocol |= other.no_protocol;
        self.internal |= other.internal;
        self.decrypt_error |= other.decrypt_error;
    }
}

/// Whether servers reject a certificate with an alert of this description (RFC 8446, section 6.2).
pub fn is_certificate_alert(alert: u8) -> bool {
    // handshake_failure, no_certificate (SSL 3), bad, unsupported, revoked, expired and unknown certificate, unknown_ca,
    // access_denied, decrypt_error (invalid signature), certificate_required.
    matches!(alert, 40..=46 | 48 | 49 | 51 | 116)
}
