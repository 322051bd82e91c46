//! The classes of the statuses of SChannel and of Windows' certificate verification.
//!
//! <https://learn.microsoft.com/windows/win32/secauthn/schannel-error-codes-for-tls-and-ssl-alerts>
use crate::engine::buffered::is_rejection;
use keybound_core::tls::TlsErrorClass;
use std::error::Error;
use std::io;

/// `None` if the error is neither a security status of Windows nor [`rejected`](crate::engine::buffered::rejected).
pub(crate) fn classify(error: &(dyn Error + 'static)) -> Option<TlsErrorClass> {
    if is_rejection(error) {
        return Some(TlsErrorClass::default());
    }
    let status = status_of(error.downcast_ref()?)?;
    Some(TlsErrorClass {
        closed: CONTEXT_EXPIRED.contains(&status),
        key: is_key_status(status),
        certificate_alert: CERTIFICATE_ALERTS.contains(&status),
        no_protocol: NO_PROTOCOL.contains(&status),
        internal: status == INTERNAL_ERROR,
        decrypt_error: status == DECRYPT_FAILURE,
    })
}

/// Whether none of the requested TLS versions is enabled.
pub(super) fn is_version_unsupported(error: &io::Error) -> bool {
    status_of(error).is_some_and(|status| NO_PROTOCOL.contains(&status))
}

/// Whether the key cannot be used.
pub(super) fn is_key_error(error: &io::Error) -> bool {
    status_of(error).is_some_and(is_key_status)
}

/// Whether the revocation status of a certificate is unknown.
pub(crate) fn is_unknown_revocation(error: &io::Error) -> bool {
    // CERT_E_REVOCATION_FAILURE, CRYPT_E_NO_REVOCATION_CHECK, CRYPT_E_REVOCATION_OFFLINE.
    matches!(
        status_of(error),
        Some(0x800B_010E | 0x8009_2012 | 0x8009_2013)
    )
}

/// Why Windows rejects a server's certificate.
pub(super) fn reason(error: &io::Error) -> &'static str {
    match status_of(error).unwrap_or_default() {
        0x800B_010F | 0x8009_0322 => "hostname mismatch",
        0x800B_0101 | 0x8009_0328 => "certificate has expired or is not yet valid",
        0x800B_0102 => "certificate is valid for longer than its issuer",
        0x800B_0109 | 0x8009_0325 => "its authority is not trusted by windows",
        0x800B_010A => "its issuer cannot be found",
        0x800B_010C | 0x8009_2010 => "certificate is revoked",
        0x800B_0110 => "certificate is not for servers",
        0x8009_6004 => "a signature in its chain is invalid",
        0x800B_0111 => "certificate is distrusted on this host",
        _ => "windows rejects it",
    }
}

/// The error as an `HRESULT` of the security facilities (0x8009, 0x800B, the informative 0x0009).
fn status_of(error: &io::Error) -> Option<u32> {
    let status = error.raw_os_error()?.cast_unsigned();
    matches!(status >> 16, 0x8009 | 0x800B | 0x0009).then_some(status)
}

fn is_key_status(status: u32) -> bool {
    // Those below 0x300 are of keys and providers (NTE_…).
    matches!(status, 0x8009_0001..0x8009_0300) || NO_CREDENTIALS.contains(&status)
}

/// `SEC_E_UNKNOWN_CREDENTIALS`, `SEC_E_NO_CREDENTIALS`: the certificate exists, its key is missing or cannot be opened.
const NO_CREDENTIALS: [u32; 2] = [0x8009_030D, 0x8009_030E];
/// `SEC_E_CONTEXT_EXPIRED`, and `SEC_I_CONTEXT_EXPIRED`, which the crate returns during a handshake.
const CONTEXT_EXPIRED: [u32; 2] = [0x8009_0317, 0x0009_0317];
/// The statuses for the alerts with which servers reject a certificate. The state of the connection distinguishes them from the
/// client's verification of the server.
const CERTIFICATE_ALERTS: [u32; 8] = [
    // SEC_E_ILLEGAL_MESSAGE: handshake_failure, access_denied.
    0x8009_0326,
    // SEC_E_CERT_UNKNOWN: bad_certificate, unsupported_certificate, certificate_unknown.
    0x8009_0327,
    // CRYPT_E_REVOKED, SEC_E_CERT_EXPIRED, SEC_E_UNTRUSTED_ROOT (unknown_ca).
    0x8009_2010,
    0x8009_0328,
    0x8009_0325,
    // SEC_E_LOGON_DENIED (access_denied).
    0x8009_030C,
    // SEC_E_NO_AUTHENTICATING_AUTHORITY, SEC_E_CERT_WRONG_USAGE.
    0x8009_0311,
    0x8009_0349,
];
/// `SEC_E_INTERNAL_ERROR`.
const INTERNAL_ERROR: u32 = 0x8009_0304;
/// `SEC_E_DECRYPT_FAILURE`: the alert `decrypt_error`, or a damaged record.
const DECRYPT_FAILURE: u32 = 0x8009_0330;
/// `SEC_E_ALGORITHM_MISMATCH`, `SEC_E_UNSUPPORTED_FUNCTION`: no version or suite in common with the server, or its alerts
/// `insufficient_security` and `protocol_version`.
const NO_PROTOCOL: [u32; 2] = [0x8009_0331, 0x8009_0302];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::buffered::rejected;

    fn status(status: u32) -> io::Error {
        io::Error::from_raw_os_error(status.cast_signed())
    }

    #[test]
    fn classifies_statuses() {
        let other = TlsErrorClass::default;
        let closed = || TlsErrorClass {
            closed: true,
            ..other()
        };
        let key = || TlsErrorClass {
            key: true,
            ..other()
        };
        let certificate_alert = || TlsErrorClass {
            certificate_alert: true,
            ..other()
        };
        let no_protocol = || TlsErrorClass {
            no_protocol: true,
            ..other()
        };
        let internal = || TlsErrorClass {
            internal: true,
            ..other()
        };
        let decrypt_error = || TlsErrorClass {
            decrypt_error: true,
            ..other()
        };
        for (number, expected) in [
            (0x8009_0016, key()),
            (0x8009_030D, key()),
            (0x8009_030E, key()),
            (0x8009_0327, certificate_alert()),
            (0x8009_0331, no_protocol()),
            (0x8009_0304, internal()),
            (0x8009_0330, decrypt_error()),
            (0x8009_0317, closed()),
            (0x0009_0317, closed()),
            (0x0009_0320, other()),
        ] {
            assert_eq!(classify(&status(number)), Some(expected), "{number:x}");
        }
        assert_eq!(classify(&io::Error::from_raw_os_error(10054)), None);
        assert_eq!(classify(&io::Error::other("x")), None);
        let own = rejected("x");
        assert_eq!(
            classify(own.get_ref().unwrap()),
            Some(TlsErrorClass::default())
        );
    }
}
