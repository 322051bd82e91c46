use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;

/// A certificate in one of the encodings of proxies: `None` for anything else. What follows the first certificate of a chain is not read.
pub(super) struct CertificateText<'a>(pub(super) &'a str);

impl CertificateText<'_> {
    /// A byte sequence (RFC 8941 section 3.3.5), without parameters.
    pub(super) fn byte_sequence(&self) -> Option<Vec<u8>> {
        let text = self.0.strip_prefix(':')?.strip_suffix(':')?;
        CertificateText(text).base64()
    }

    /// Base64 with padding.
    pub(super) fn base64(&self) -> Option<Vec<u8>> {
        if self.0.len() > MAX_TEXT {
            return None;
        }
        STANDARD.decode(self.0).ok()
    }

    /// One certificate in URL-encoded PEM.
    pub(super) fn url_encoded_pem(&self) -> Option<Vec<u8>> {
        let pem = self.url_decoded()?;
        let (der, rest) = first_pem(&pem)?;
        rest.is_empty().then_some(der)
    }

    /// The first certificate of a chain in URL-encoded PEM.
    pub(super) fn first_of_url_encoded_pem(&self) -> Option<Vec<u8>> {
        let pem = self.url_decoded()?;
        first_pem(&pem).map(|(der, _)| der)
    }

    /// The first certificate of a chain in URL-encoded base64.
    pub(super) fn first_of_url_encoded_base64(&self) -> Option<Vec<u8>> {
        let chain = self.url_decoded()?;
        let (first, _) = chain.split_once(',').unwrap_or((&chain, ""));
        CertificateText(first).base64()
    }

    /// A plus sign is no space here: it is a digit of base64.
    fn url_decoded(&self) -> Option<String> {
        if self.0.len() > MAX_TEXT {
            return None;
        }
        let decoded = percent_decode_str(self.0).decode_utf8().ok()?;
        Some(decoded.into_owned())
    }
}

/// The certificate at the start of PEM text (RFC 7468), and what follows it.
fn first_pem(pem: &str) -> Option<(Vec<u8>, &str)> {
    let body = pem.strip_prefix("-----BEGIN CERTIFICATE-----")?;
    let (body, rest) = body.split_once("-----END CERTIFICATE-----")?;
    let is_line_end = |char: char| matches!(char, '\n' | '\r');
    let body: String = body.split(is_line_end).collect();
    let der = STANDARD.decode(body).ok()?;
    Some((der, rest.trim_start_matches(is_line_end)))
}

/// In bytes: four certificates of the longest accepted length would not fit a proxy's header.
pub(super) const MAX_TEXT: usize = 64 * 1024;
