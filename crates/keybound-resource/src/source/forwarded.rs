mod certificate_text;
mod ignored_headers;
mod xfcc;

use super::{CertificateSource, TrustedPeers, peer};
use crate::cache::{Cache, Hashed};
use crate::{CertificateError, ClientCertificate};
use certificate_text::{CertificateText, MAX_TEXT};
use http::{Extensions, HeaderMap, HeaderName};
use ignored_headers::IgnoredHeaderCounters;
pub use ignored_headers::IgnoredHeaders;
use std::fmt;
use std::sync::{Arc, OnceLock};
use xfcc::Element;

/// A header in which a proxy that ends TLS passes on the certificate of the client.
///
/// The proxy must remove the header from clients' requests. The header of a peer that is not [trusted](TrustedPeers) is ignored.
#[derive(Clone)]
pub struct ForwardedCertificate {
    header: HeaderName,
    format: HeaderFormat,
    trusted: TrustedPeers,
    parsed: Arc<ParsedCertificates>,
    ignored: Arc<IgnoredHeaderCounters>,
}

/// How a header contains the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderFormat {
    /// `Client-Cert` of RFC 9440: a byte sequence, `:MII…:`.
    Rfc9440,
    /// `X-Forwarded-Client-Cert` of Envoy with one element, whose key `Cert` is the URL-encoded PEM
    /// (`forward_client_cert_details: SANITIZE_SET` and `cert: true`). Its only key `Hash`, which Envoy always sets, is the SHA-256 of this
    /// certificate: names in the certificate, which Envoy does not quote, can contain another `Cert`.
    Xfcc,
    /// URL-encoded PEM, as nginx (`$ssl_client_escaped_cert`) and the leaf of an AWS load balancer.
    UrlEncodedPem,
    /// URL-encoded PEM of a chain that begins with the client's certificate, as an AWS load balancer in passthrough mode.
    UrlEncodedPemChain,
    /// Base64 of the DER, as HAProxy (`%[ssl_c_der,base64]`) and App Service.
    Base64Der,
    /// URL-encoded base64 of the DER of a chain, separated by commas, that begins with the client's certificate, as Traefik.
    UrlEncodedBase64Chain,
}

impl ForwardedCertificate {
    /// A header of any name.
    pub fn new(header: HeaderName, format: HeaderFormat, trusted: TrustedPeers) -> Self {
        Self {
            header,
            format,
            trusted,
            parsed: Arc::default(),
            ignored: Arc::default(),
        }
    }

    /// `Client-Cert` (RFC 9440).
    pub fn rfc9440(trusted: TrustedPeers) -> Self {
        Self::named(RFC_9440, HeaderFormat::Rfc9440, trusted)
    }

    /// Envoy: `X-Forwarded-Client-Cert`.
    pub fn xfcc(trusted: TrustedPeers) -> Self {
        Self::named(XFCC, HeaderFormat::Xfcc, trusted)
    }

    /// nginx: `proxy_set_header X-SSL-Client-Cert $ssl_client_escaped_cert`.
    pub fn nginx(trusted: TrustedPeers) -> Self {
        Self::named(NGINX, HeaderFormat::UrlEncodedPem, trusted)
    }

    /// HAProxy: `http-request set-header X-SSL-Client-DER %[ssl_c_der,base64]`.
    pub fn haproxy(trusted: TrustedPeers) -> Self {
        Self::named(HAPROXY, HeaderFormat::Base64Der, trusted)
    }

    /// Traefik: the middleware `passTLSClientCert` with `pem`, `X-Forwarded-Tls-Client-Cert`.
    pub fn traefik(trusted: TrustedPeers) -> Self {
        Self::named(TRAEFIK, HeaderFormat::UrlEncodedBase64Chain, trusted)
    }

    /// An AWS Application Load Balancer that verifies the chain: `X-Amzn-Mtls-Clientcert-Leaf`.
    pub fn aws_leaf(trusted: TrustedPeers) -> Self {
        Self::named(AWS_LEAF, HeaderFormat::UrlEncodedPem, trusted)
    }

    /// An AWS Application Load Balancer in passthrough mode: `X-Amzn-Mtls-Clientcert`.
    pub fn aws_passthrough(trusted: TrustedPeers) -> Self {
        Self::named(AWS_PASSTHROUGH, HeaderFormat::UrlEncodedPemChain, trusted)
    }

    /// App Service: `X-ARR-ClientCert`. Its front ends are the only ones that can connect to an app, and replace the header, if the app's
    /// client certificate mode is `Required`. Every peer is trusted: use it in App Service only. Container Apps have
    /// another header ([`xfcc`](Self::xfcc)) and do not remove this one from clients' requests.
    pub fn app_service() -> Self {
        let trusted = TrustedPeers::everyone();
        Self::named(APP_SERVICE, HeaderFormat::Base64Der, trusted)
    }

    /// Parses a certificate in this format that was received in another way than the header, such as in a message of the proxy. The
    /// caller decides whether its sender is trusted.
    ///
    /// # Errors
    /// If it is not one certificate. An empty value is that of a client without a certificate.
    pub fn parse_value(&self, value: &[u8]) -> Result<Option<ClientCertificate>, CertificateError> {
        self.parsed
            .get_or_parse(value, || parse(self.format, value))
    }

    /// The same header, of other peers. What was counted remains.
    #[must_use]
    pub fn with_trusted(&self, trusted: TrustedPeers) -> Self {
        Self {
            trusted,
            ..self.clone()
        }
    }

    /// The headers that were ignored until now; those of clones are counted together.
    pub fn ignored(&self) -> IgnoredHeaders {
        self.ignored.read()
    }

    fn named(header: &'static str, format: HeaderFormat, trusted: TrustedPeers) -> Self {
        Self::new(HeaderName::from_static(header), format, trusted)
    }
}

impl CertificateSource for ForwardedCertificate {
    fn certificate(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<Option<ClientCertificate>, CertificateError> {
        if !self.trusted.contain(peer(extensions)) {
            self.ignored.count_untrusted(headers, &self.header);
            return Ok(None);
        }
        let mut values = headers.get_all(&self.header).iter();
        let value = match (values.next(), values.next()) {
            (None, _) => {
                self.ignored.count_other(headers);
                return Ok(None);
            }
            (Some(value), None) => value.as_bytes(),
            (Some(_), Some(_)) => return Err(CertificateError::Repeated),
        };
        self.parse_value(value)
    }
}

impl fmt::Debug for ForwardedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardedCertificate")
            .field("header", &self.header)
            .field("format", &self.format)
            .field("trusted", &self.trusted)
            .finish_non_exhaustive()
    }
}

/// Parses the value of a header. An empty one is that of a client without a certificate.
pub(crate) fn parse(
    format: HeaderFormat,
    value: &[u8],
) -> Result<Option<ClientCertificate>, CertificateError> {
    let text = std::str::from_utf8(value).map_err(|_| CertificateError::Malformed)?;
    if format != HeaderFormat::Xfcc {
        return certificate(format, text);
    }
    let Some(element) = Element::parse(text)? else {
        return Ok(None);
    };
    let certificate = certificate(format, &element.certificate)?;
    match certificate
        .as_ref()
        .is_none_or(|found| element.is_of(found))
    {
        true => Ok(certificate),
        false => Err(CertificateError::Malformed),
    }
}

/// The certificate in a text.
fn certificate(
    format: HeaderFormat,
    text: &str,
) -> Result<Option<ClientCertificate>, CertificateError> {
    if text.is_empty() {
        return Ok(None);
    }
    let text = CertificateText(text);
    let der = match format {
        HeaderFormat::Rfc9440 => text.byte_sequence(),
        HeaderFormat::Xfcc | HeaderFormat::UrlEncodedPem => text.url_encoded_pem(),
        HeaderFormat::UrlEncodedPemChain => text.first_of_url_encoded_pem(),
        HeaderFormat::Base64Der => text.base64(),
        HeaderFormat::UrlEncodedBase64Chain => text.first_of_url_encoded_base64(),
    };
    let der = der.ok_or(CertificateError::Malformed)?;
    ClientCertificate::from_der(&der).map(Some)
}

/// Parsed certificates by the value of the header: a proxy sends the same one with each request of a connection. Bounded in bytes.
/// Allocated with the first one.
#[derive(Default)]
struct ParsedCertificates(OnceLock<Option<Cache<ClientCertificate>>>);

impl ParsedCertificates {
    fn get_or_parse(
        &self,
        value: &[u8],
        parse: impl FnOnce() -> Result<Option<ClientCertificate>, CertificateError>,
    ) -> Result<Option<ClientCertificate>, CertificateError> {
        let cache = self.0.get().and_then(Option::as_ref);
        if let Some(known) = cache.and_then(|cache| cache.read(value, ClientCertificate::clone)) {
            return Ok(Some(known));
        }
        let parsed = parse()?;
        if let Some(certificate) = &parsed
            && value.len() <= MAX_TEXT
            && let Some(cache) = self.allocated()
        {
            cache.insert(value, certificate.clone(), size(certificate));
        }
        Ok(parsed)
    }

    fn allocated(&self) -> Option<&Cache<ClientCertificate>> {
        let new = || Cache::new(MAX_CACHED, Hashed::Samples);
        self.0.get_or_init(new).as_ref()
    }
}

/// The memory of a parsed certificate, in bytes: at most as much.
fn size(certificate: &ClientCertificate) -> usize {
    let certificate = certificate.certificate();
    // The public key and the names that it has a copy of are parts of the DER.
    let copies = certificate.der().len();
    let texts = certificate.subject().len() + certificate.issuer().len();
    certificate.der().len() + copies + texts + PARSED
}

const RFC_9440: &str = "client-cert";
const XFCC: &str = "x-forwarded-client-cert";
const NGINX: &str = "x-ssl-client-cert";
const HAPROXY: &str = "x-ssl-client-der";
const TRAEFIK: &str = "x-forwarded-tls-client-cert";
const AWS_LEAF: &str = "x-amzn-mtls-clientcert-leaf";
const AWS_PASSTHROUGH: &str = "x-amzn-mtls-clientcert";
const APP_SERVICE: &str = "x-arr-clientcert";
/// In bytes: more than 5,000 certificates of the usual length.
const MAX_CACHED: usize = 32 << 20;
/// What a parsed certificate has besides these, in bytes.
const PARSED: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use keybound_testing::{CertificateBuilder, shared_p256_key};
    use openssl::nid::Nid;
    use openssl::x509::X509Name;

    #[test]
    fn more_certificates_than_usual_are_parsed_once_each() {
        const COUNT: usize = 5000;
        let known = ParsedCertificates::default();
        assert_eq!(parse_in_turn(&known, COUNT), COUNT);
        // Some have the same slots.
        let again = parse_in_turn(&known, COUNT);
        assert!(again < COUNT / 100, "{again}");
    }

    #[test]
    fn memory_of_parsed_certificates_is_bounded() {
        let known = ParsedCertificates::default();
        parse_in_turn(&known, 20_000);
        let bytes = known.allocated().unwrap().bytes();
        assert!((MAX_CACHED / 2..MAX_CACHED).contains(&bytes), "{bytes}");
    }

    /// A proxy sends it with each request of a connection: parsing it each time would cost more than all other checks.
    #[test]
    fn longest_certificate_is_parsed_once() {
        let known = ParsedCertificates::default();
        let certificate = certificate();
        for (length, expected) in [(4097, 1), (MAX_TEXT, 1), (MAX_TEXT + 1, 3)] {
            let value = "A".repeat(length);
            let mut parsed = 0;
            for _ in 0..3 {
                let found = known.get_or_parse(value.as_bytes(), || {
                    parsed += 1;
                    Ok(Some(certificate.clone()))
                });
                assert!(found.unwrap().is_some());
            }
            assert_eq!(parsed, expected, "{length}");
        }
    }

    /// A client chooses them, also where its certificate is refused later.
    #[test]
    fn memory_of_long_names_and_keys_is_counted() {
        let key = shared_p256_key();
        let domain = "d".repeat(10_000);
        let mut name = X509Name::builder().unwrap();
        name.append_entry_by_nid(Nid::DOMAINCOMPONENT, &domain)
            .unwrap();
        let der = CertificateBuilder::new(key)
            .subject_name(&name.build())
            .sign(key)
            .to_der();
        let certificate = ClientCertificate::from_der(&der.unwrap()).unwrap();
        let parsed = certificate.certificate();
        let texts = domain.len() + parsed.subject().len() + parsed.issuer().len();
        let counted = parsed.der().len() + parsed.public_key_der().len() + texts;
        assert!(size(&certificate) >= counted, "{counted}");
    }

    /// How many of them were parsed.
    fn parse_in_turn(known: &ParsedCertificates, count: usize) -> usize {
        let certificate = certificate();
        let mut parsed = 0;
        for number in 0..count {
            let value = format!("{number:08}{}", "A".repeat(2000));
            let found = known.get_or_parse(value.as_bytes(), || {
                parsed += 1;
                Ok(Some(certificate.clone()))
            });
            assert!(found.unwrap().is_some());
        }
        parsed
    }

    fn certificate() -> ClientCertificate {
        let key = shared_p256_key();
        let certificate = CertificateBuilder::new(key).sign(key).to_der().unwrap();
        ClientCertificate::from_der(&certificate).unwrap()
    }
}
