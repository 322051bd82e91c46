//! The extension with the time until which Entra accepts a certificate for new tokens, which can be before NotAfter.
use crate::clock::unix;
use crate::config::TokenNotAfterEncoding;
use openssl::asn1::{Asn1Object, Asn1OctetString};
use openssl::error::ErrorStack;
use openssl::x509::X509Extension;
use std::time::{Duration, SystemTime};
use x509_cert::Certificate;
use x509_cert::der::asn1::{GeneralizedTime, UtcTime};
use x509_cert::der::{self, Decode as _, Encode as _};
use x509_cert::time::Time;

/// The extension of a certificate that is issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenNotAfter {
    At(SystemTime, TokenNotAfterEncoding),
    /// An extension without a time.
    Unreadable,
}

impl TokenNotAfter {
    pub(super) fn extension(self) -> Result<X509Extension, ErrorStack> {
        let value = self.value().unwrap_or_else(|_| NULL.to_vec());
        let oid = Asn1Object::from_str(OID)?;
        X509Extension::new_from_der(&oid, false, &*Asn1OctetString::new_from_bytes(&value)?)
    }

    fn value(self) -> der::Result<Vec<u8>> {
        use TokenNotAfterEncoding::{GeneralizedTimeInSequence, UtcTimeInSequence};
        let Self::At(time, encoding) = self else {
            return Ok(NULL.to_vec());
        };
        let time = encode(time, encoding)?;
        match encoding {
            GeneralizedTimeInSequence | UtcTimeInSequence => vec![time].to_der(),
            TokenNotAfterEncoding::GeneralizedTime | TokenNotAfterEncoding::UtcTime => {
                time.to_der()
            }
        }
    }
}

/// UTCTime ends with the year 2049 (RFC 5280 section 4.1.2.5).
fn encode(time: SystemTime, encoding: TokenNotAfterEncoding) -> der::Result<Time> {
    let since = Duration::from_secs(unix(time));
    let utc = matches!(
        encoding,
        TokenNotAfterEncoding::UtcTime | TokenNotAfterEncoding::UtcTimeInSequence
    );
    match UtcTime::from_unix_duration(since) {
        Ok(time) if utc => Ok(Time::UtcTime(time)),
        _ => GeneralizedTime::from_unix_duration(since).map(Time::GeneralTime),
    }
}

/// The time in the extension of a certificate (DER); `None` if it is absent or malformed.
pub(crate) fn read(certificate: &[u8]) -> Option<SystemTime> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let extensions = certificate.tbs_certificate().extensions()?;
    let found = extensions
        .iter()
        .find(|extension| extension.extn_id.to_string() == OID)?;
    time_of(found.extn_value.as_bytes())
}

/// The time in the value of the extension: plain, or the only element of a SEQUENCE.
pub(crate) fn time_of(value: &[u8]) -> Option<SystemTime> {
    let time = match Vec::<Time>::from_der(value) {
        Ok(times) => <[Time; 1]>::try_from(times).ok().map(|[time]| time),
        Err(_) => Time::from_der(value).ok(),
    };
    Some(time?.to_system_time())
}

const OID: &str = "1.3.6.1.4.1.311.90.2.1";
/// NULL, in DER.
const NULL: [u8; 2] = [0x05, 0x00];

#[cfg(test)]
mod tests {
    use super::*;
    use TokenNotAfterEncoding as As;

    #[test]
    fn writes_and_reads_each_encoding() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_769_861_045);
        for (encoding, expected) in [
            (
                As::GeneralizedTimeInSequence,
                &b"\x30\x11\x18\x0f20260131120405Z"[..],
            ),
            (As::GeneralizedTime, b"\x18\x0f20260131120405Z"),
            (As::UtcTimeInSequence, b"\x30\x0f\x17\x0d260131120405Z"),
            (As::UtcTime, b"\x17\x0d260131120405Z"),
        ] {
            let value = TokenNotAfter::At(time, encoding).value().unwrap();
            assert_eq!(value, expected, "{encoding:?}");
            assert_eq!(time_of(&value), Some(time), "{encoding:?}");
        }
        let late = SystemTime::UNIX_EPOCH + Duration::from_secs(2_600_000_000);
        let value = TokenNotAfter::At(late, As::UtcTime).value().unwrap();
        assert_eq!(value, b"\x18\x0f20520522141320Z", "years from 2050 on");
    }

    #[test]
    fn rejects_malformed_times() {
        for value in [
            &TokenNotAfter::Unreadable.value().unwrap()[..],
            b"",
            b"\x30\x00",
            b"\x18\x0f20261331120405Z",
            b"\x18\x0f20260131120405Z\0",
            b"\x30\x22\x18\x0f20260131120405Z\x18\x0f20260131120405Z",
            b"\x30\x13\x30\x11\x18\x0f20260131120405Z",
            b"\x04\x11\x18\x0f20260131120405Z",
        ] {
            assert_eq!(time_of(value), None, "{value:?}");
        }
    }
}
