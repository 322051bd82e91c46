/// The class of an error of a TLS library.
#[derive(Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "each TLS library fills it")]
pub struct TlsErrorClass {
    /// The connection is gone.
    pub closed: bool,
    /// The key did not sign.
    pub key: bool,
    /// The peer sent an alert that servers answer a certificate with.
    pub certificate_alert: bool,
    /// The host allows none of the TLS versions asked for.
    pub no_protocol: bool,
    /// The library failed in itself. Where it was about to present the certificate, that is what a key that does not sign
    /// looks like.
    pub internal: bool,
    /// A record, or our signature, did not hold. Where the certificate was just presented, it is the signature.
    pub decrypt_error: bool,
}

impl TlsErrorClass {
    /// Adds the properties of another error of the same chain.
    pub fn merge(&mut self, other: &Self) {
        self.closed |= other.closed;
        self.key |= other.key;
        self.certificate_alert |= other.certificate_alert;
        self.no_protocol |= other.no_protocol;
        self.internal |= other.internal;
        self.decrypt_error |= other.decrypt_error;
    }
}

/// Whether servers answer a certificate that they do not take with an alert of this description (RFC 8446, 6.2).
pub fn is_certificate_alert(alert: u8) -> bool {
    // handshake_failure, no_certificate (SSL 3), bad, unsupported, revoked, expired and unknown certificate, unknown_ca,
    // access_denied, decrypt_error (our signature did not hold), certificate_required.
    matches!(alert, 40..=46 | 48 | 49 | 51 | 116)
}
