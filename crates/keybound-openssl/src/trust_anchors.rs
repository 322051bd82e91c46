mod pem;

use crate::ffi::{LibraryContext, with_reason};
use crate::{TransportError, TransportErrorKind};
use std::fmt;
use std::sync::Arc;

/// The trusted certificate authorities: the system's, and those that the caller adds. The system's are those at OpenSSL's built-in
/// paths; if there are none, as with an OpenSSL that is built into the program, those of the host's distribution (Debian, Ubuntu,
/// Red Hat, Fedora, Azure Linux, SUSE, Alpine). On Windows they are the system's stores. No environment variable is read. Adding
/// authorities requires OpenSSL: SChannel trusts those of Windows only.
///
/// Any certificate can be an anchor (RFC 5280, section 6.1.1): a root, an intermediate authority whose root is not
/// named, or the server's own.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TrustAnchors {
    /// DER, optionally followed by the trust settings of OpenSSL's `TRUSTED CERTIFICATE`.
    extra: Vec<Arc<[u8]>>,
    loopback: Vec<Arc<[u8]>>,
}

impl TrustAnchors {
    /// The system's trust store.
    pub fn system() -> Self {
        Self::default()
    }

    /// Adds the certificates of a PEM text, at least one. The text is parsed like CA files by OpenSSL and curl: comments, other
    /// text outside of certificates, and blocks of other types are ignored. The trust settings of a `TRUSTED CERTIFICATE`
    /// apply.
    ///
    /// # Errors
    /// [`InvalidRequest`](keybound_core::ErrorKind::InvalidRequest) if it contains none, with the apparent format, or a malformed
    /// one;
    /// [`HostUnsupported`](keybound_core::ErrorKind::HostUnsupported) on Windows without OpenSSL.
    pub fn with_pem(mut self, pem: &[u8]) -> Result<Self, keybound_core::Error> {
        self.extra.extend(certificates(pem)?);
        Ok(self)
    }

    /// Adds the certificates of a PEM text for loopback hosts only (`localhost`, `127.0.0.0/8`, `::1`).
    ///
    /// # Errors
    /// As [`with_pem`](Self::with_pem).
    pub fn with_loopback_pem(mut self, pem: &[u8]) -> Result<Self, keybound_core::Error> {
        self.loopback.extend(certificates(pem)?);
        Ok(self)
    }

    /// Whether certificates were added to the system's.
    pub fn is_extended(&self) -> bool {
        !(self.extra.is_empty() && self.loopback.is_empty())
    }

    /// The anchors without those for loopback hosts only.
    #[cfg(feature = "openssl")]
    pub(crate) fn for_any_host(&self) -> Self {
        Self {
            extra: self.extra.clone(),
            loopback: Vec::new(),
        }
    }

    /// The added anchors for all hosts.
    pub(crate) fn for_all(&self) -> impl Iterator<Item = &[u8]> {
        self.extra.iter().map(AsRef::as_ref)
    }

    /// The added anchors for loopback hosts only.
    pub(crate) fn for_loopback(&self) -> impl Iterator<Item = &[u8]> {
        self.loopback.iter().map(AsRef::as_ref)
    }
}

impl fmt::Debug for TrustAnchors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustAnchors")
            .field("extra", &self.extra.len())
            .field("loopback", &self.loopback.len())
            .finish()
    }
}

fn certificates(text: &[u8]) -> Result<Vec<Arc<[u8]>>, TransportError> {
    let invalid =
        |message: String| TransportError::new(TransportErrorKind::InvalidRequest, message);
    let library = LibraryContext::get()?;
    let read = |block: pem::Block<'_>| {
        let malformed = "a certificate of the trust anchors is malformed";
        let content = block.content.ok_or_else(|| invalid(malformed.to_owned()))?;
        match library.anchor(&content) {
            Ok(_) => Ok(Arc::from(content)),
            Err(errors) => Err(invalid(with_reason(malformed, &errors))),
        }
    };
    let found: Vec<_> = pem::blocks(text)
        .into_iter()
        .filter(|block| LABELS.contains(&block.label))
        .map(read)
        .collect::<Result<_, _>>()?;
    if found.is_empty() {
        return Err(invalid(match text.trim_ascii() {
            [] => "the trust anchors contain no certificate: the text is empty".to_owned(),
            _ => format!(
                "the trust anchors contain no certificate: the text {}",
                pem::describe(text)
            ),
        }));
    }
    Ok(found)
}

const LABELS: [&str; 3] = ["CERTIFICATE", "TRUSTED CERTIFICATE", "X509 CERTIFICATE"];

#[cfg(test)]
mod tests {
    use super::*;

    fn rejection(text: &[u8]) -> String {
        let error = TrustAnchors::system().with_pem(text).unwrap_err();
        assert_eq!(error.kind(), keybound_core::ErrorKind::InvalidRequest);
        let other = TrustAnchors::system().with_loopback_pem(text).unwrap_err();
        assert_eq!(other.to_string(), error.to_string());
        error.to_string()
    }

    #[test]
    fn anchors_with_a_broken_certificate_are_refused() {
        let valid = String::from_utf8(certificate().to_pem().unwrap()).unwrap();
        for text in [
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(),
            "-----BEGIN CERTIFICATE-----\nAAAA".to_owned(),
            "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n".to_owned(),
            format!("{valid}-----BEGIN CERTIFICATE-----\n"),
            valid.replace("-----END", "AAAA\n-----END"),
            valid.replace("BEGIN CERTIFICATE", "BEGIN TRUSTED CERTIFICATE"),
        ] {
            let expected = "a certificate of the trust anchors is malformed";
            let rejection = rejection(text.as_bytes());
            assert!(rejection.starts_with(expected), "{rejection}: {text}");
        }
        assert!(!TrustAnchors::system().is_extended());
    }

    #[test]
    fn ignores_text_around_certificates() {
        let valid = String::from_utf8(certificate().to_pem().unwrap()).unwrap();
        let commented = valid
            .lines()
            .map(|line| format!("# {line}\n"))
            .collect::<String>();
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        for text in [
            valid.clone(),
            format!("{commented}{valid}"),
            format!("{valid}{commented}"),
            format!("{valid}# -----BEGIN CERTIFICATE-----"),
            format!("\u{feff}{valid}"),
            format!("\n\n{valid}"),
            format!("Bag Attributes\n    friendlyName: ü\n{valid}"),
            format!("{key}{valid}"),
            valid.replace('\n', "\r\n"),
            valid.replace("CERTIFICATE", "X509 CERTIFICATE"),
        ] {
            let anchors = TrustAnchors::system().with_pem(text.as_bytes()).unwrap();
            assert_eq!(anchors.extra.len(), 1, "{text}");
            assert_eq!(*anchors.extra[0], certificate().to_der().unwrap(), "{text}");
        }
        let two = TrustAnchors::system().with_pem(format!("{valid}{valid}").as_bytes());
        assert_eq!(two.unwrap().extra.len(), 2);
    }

    #[test]
    fn names_the_format_of_texts_without_certificates() {
        let pem = certificate().to_pem().unwrap();
        let pem = std::str::from_utf8(&pem).unwrap();
        let utf16 = |mark: &[u8], bytes: fn(u16) -> [u8; 2]| {
            [mark.to_vec(), pem.encode_utf16().flat_map(bytes).collect()].concat()
        };
        let block = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        let pkcs7 = b"\x30\x82\x01\x00\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0";
        for (text, format) in [
            (vec![], "empty"),
            (b" \r\n ".to_vec(), "empty"),
            (b"garbage".to_vec(), "is not PEM"),
            (certificate().to_der().unwrap(), "DER"),
            (pkcs7.to_vec(), "PKCS#7"),
            (block("PKCS7").into_bytes(), "PKCS#7"),
            (utf16(b"\xff\xfe", u16::to_le_bytes), "UTF-16"),
            (utf16(b"\xfe\xff", u16::to_be_bytes), "UTF-16"),
            (utf16(b"", u16::to_le_bytes), "UTF-16"),
            (utf16(b"", u16::to_be_bytes), "UTF-16"),
            (block("PRIVATE KEY").into_bytes(), "private key"),
            (block("RSA PRIVATE KEY").into_bytes(), "private key"),
            (
                block("CERTIFICATE REQUEST").into_bytes(),
                "certificate request",
            ),
            (block("X509 CRL").into_bytes(), "revocation list"),
            (block("PUBLIC KEY").into_bytes(), "public key"),
            (block("SECRET 4711").into_bytes(), "PEM of another type"),
            (
                b"\x30\x82\x01\x00\x02\x01\x03\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01\xa0".to_vec(),
                "PKCS#12",
            ),
            (b"\x1f\x8b\x08".to_vec(), "gzip"),
            (pem.replace('\n', "").into_bytes(), "on one line"),
            (pem.replace('\n', " ").into_bytes(), "on one line"),
            (without_boundaries(pem).into_bytes(), "without boundaries"),
            (
                without_boundaries(pem).replace('\n', "").into_bytes(),
                "without boundaries",
            ),
            (pem.replace('\n', "\\n").into_bytes(), r"written as \n"),
            (pem.replace('\n', "\\r\\n").into_bytes(), r"written as \n"),
            (
                pem.replace('\n', "\n  ")
                    .replacen('-', "  -", 1)
                    .into_bytes(),
                "indented",
            ),
        ] {
            let message = rejection(&text);
            let expected = "the trust anchors contain no certificate: the text ";
            assert!(message.starts_with(expected), "{message}");
            assert_eq!(message.contains("indented"), format == "indented");
            assert!(message.contains(format), "{format} {message}");
            assert!(!message.contains("4711"), "{message}");
        }
    }

    fn without_boundaries(pem: &str) -> String {
        let lines = pem.lines().filter(|line| !line.starts_with('-'));
        lines.map(|line| format!("{line}\n")).collect()
    }

    fn certificate() -> openssl::x509::X509 {
        use openssl::x509::X509;
        static CERTIFICATE: std::sync::LazyLock<X509> =
            std::sync::LazyLock::new(|| keybound_testing::Leaf::self_signed("test").certificate);
        CERTIFICATE.clone()
    }
}
