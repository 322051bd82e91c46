//! The resource's side.
use crate::check::{CERTIFICATE, TENANT, assert_no_canary, assert_printable, assert_safe};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use keybound_core::Challenge;
use keybound_resource::source::{CertificateSource as _, ForwardedCertificate, TrustedPeers};
use keybound_resource::{
    Authorization, ClientCertificate, FetchFuture, Guid, Issuer, KeyFetcher, KeyFile, KeySet, Keys,
    Schemes, TokenVersion, Verifier,
};
use std::pin::pin;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll, Waker};

/// The `Authorization` header of a request to a resource. Input that does not start with a scheme is the claims of a token with a known
/// key. No token is accepted, as the key signs none.
pub fn resource_token(data: &[u8]) {
    let header = match data {
        [b'm' | b'M' | b'B', ..] => data.to_vec(),
        claims => {
            let claims = URL_SAFE_NO_PAD.encode(claims);
            let signature = URL_SAFE_NO_PAD.encode([1; 256]);
            format!("mtls_pop {HEADER}.{claims}.{signature}").into_bytes()
        }
    };
    let authorization = Authorization::from(&header[..]);
    assert_no_canary(&format!("{authorization:?}"));
    let refusal = VERIFIER
        .verify(authorization, &*CLIENT_CERTIFICATE)
        .expect_err("no token has a valid signature");
    assert_safe(&refusal.to_string());
    assert_no_canary(&format!("{refusal:?}"));
    let challenge = refusal.challenge().expect("the keys are fixed");
    assert_safe(&challenge);
    let challenges = Challenge::parse_all(&challenge);
    assert_eq!(challenges.len(), 2, "{challenge}");
    for challenge in challenges {
        assert_eq!(challenge.parameter("error"), refusal.reason().error());
    }
}

/// The header of Envoy with a client certificate.
pub fn resource_xfcc(data: &[u8]) {
    let source = ForwardedCertificate::xfcc(TrustedPeers::everyone());
    if let Some(certificate) = forwarded(&source, "x-forwarded-client-cert", data) {
        assert_parses_again(&certificate);
        let text = String::from_utf8_lossy(data).to_ascii_lowercase();
        assert!(text.contains("cert="), "{text}");
        // Escaped by backslashes, if it is quoted.
        let hash = certificate.certificate().thumbprints().sha256.to_ascii_lowercase();
        assert!(text.replace('\\', "").contains(&hash), "{text}");
    }
}

/// The headers of other proxies with a client certificate: a byte sequence of structured fields, PEM and DER.
pub fn resource_certificate_header(data: &[u8]) {
    let everyone = TrustedPeers::everyone;
    let source = ForwardedCertificate::rfc9440(everyone());
    if let Some(certificate) = forwarded(&source, "client-cert", data) {
        let der = STANDARD.encode(certificate.certificate().der());
        assert_eq!(data, format!(":{der}:").as_bytes(), "one encoding only");
    }
    let source = ForwardedCertificate::haproxy(everyone());
    if let Some(certificate) = forwarded(&source, "x-ssl-client-der", data) {
        let der = STANDARD.encode(certificate.certificate().der());
        assert_eq!(data, der.as_bytes(), "one encoding only");
    }
    let nginx = ForwardedCertificate::nginx(everyone());
    let chain = ForwardedCertificate::aws_passthrough(everyone());
    if let Some(certificate) = forwarded(&nginx, "x-ssl-client-cert", data) {
        assert_parses_again(&certificate);
        let first = forwarded(&chain, "x-amzn-mtls-clientcert", data);
        assert_eq!(first, Some(certificate));
    }
}

/// An issuer's key set, and a file with those of several issuers.
pub fn resource_key_set(data: &[u8]) {
    match KeyFile::parse(data) {
        Ok(file) => {
            let json = file.to_json();
            let again = KeyFile::parse(json.as_bytes()).map(|again| again.to_json());
            assert_eq!(again, Ok(json));
        }
        // The name of an issuer is no secret.
        Err(error) => assert_printable(&error.to_string()),
    }
    match KeySet::parse(data) {
        Ok(keys) => {
            assert!(data.len() <= 1 << 20);
            assert!(keys.ids().count() > 0);
        }
        Err(error) => assert_safe(&error.to_string()),
    }
}

/// An issuer's metadata document. Nothing is fetched from another host.
pub fn resource_metadata(data: &[u8]) {
    let fetched = Arc::new(Mutex::new(Vec::new()));
    let issuer = FakeIssuer {
        metadata: data.to_vec(),
        fetched: Arc::clone(&fetched),
    };
    let verifier = Verifier::builder()
        .audience("api://orders")
        .tenant(Guid::parse(TENANT).expect("a GUID"))
        .issuer(Issuer::new(TokenVersion::V2, ISSUER, METADATA))
        .keys(Keys::discovered(issuer))
        .cache_bytes(0)
        .clock(Frozen)
        .build()
        .expect("a verifier");
    let refresh = verifier.due_key_refresh().expect("there are no keys");
    let result = pin!(refresh.run()).poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(result) = result else {
        panic!("the fake issuer responds at once");
    };
    assert_eq!(verifier.has_keys(), result.is_ok());
    for keys in verifier.key_status() {
        assert_printable(keys.error().unwrap_or_default());
    }
    let fetched = fetched.lock().expect("no test panicked");
    assert!(fetched.len() <= 2);
    for url in &*fetched {
        assert!(url.starts_with("https://login.example/"), "{url}");
    }
}

/// Its metadata, and a key set at any other URL.
struct FakeIssuer {
    metadata: Vec<u8>,
    fetched: Arc<Mutex<Vec<String>>>,
}

impl KeyFetcher for FakeIssuer {
    fn fetch<'a>(&'a self, url: &'a str) -> FetchFuture<'a> {
        let mut fetched = self.fetched.lock().expect("no test panicked");
        let document = match fetched.is_empty() {
            true => self.metadata.clone(),
            false => include_bytes!("../../seeds/resource_key_set/entra").to_vec(),
        };
        fetched.push(url.to_owned());
        Box::pin(async { Ok(document) })
    }
}

fn forwarded(
    source: &ForwardedCertificate,
    header: &'static str,
    value: &[u8],
) -> Option<ClientCertificate> {
    let mut headers = HeaderMap::new();
    let value = HeaderValue::from_bytes(value).ok()?;
    headers.insert(HeaderName::from_static(header), value);
    source.certificate(&headers, &Extensions::new()).ok()?
}

fn assert_parses_again(certificate: &ClientCertificate) {
    let again = ClientCertificate::from_der(certificate.certificate().der());
    assert_eq!(again.as_ref(), Ok(certificate));
}

static CLIENT_CERTIFICATE: LazyLock<ClientCertificate> =
    LazyLock::new(|| ClientCertificate::from_der(CERTIFICATE.der()).expect("a certificate"));

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let keys = include_bytes!("../../seeds/resource_key_set/entra");
    let verifier = Verifier::builder()
        .audience("api://orders")
        .tenant(Guid::parse(TENANT).expect("a GUID"))
        .keys(Keys::fixed(KeySet::parse(keys).expect("a key set")))
        .accept(Schemes::MTLS_POP | Schemes::BOUND_BEARER)
        .clock(Frozen)
        .build();
    verifier.expect("a verifier")
});

/// While [`CERTIFICATE`] is valid.
struct Frozen;

impl keybound_resource::Clock for Frozen {
    fn wall(&self) -> std::time::Duration {
        let now = crate::check::now().duration_since(std::time::UNIX_EPOCH);
        now.expect("after 1970")
    }

    fn monotonic(&self) -> std::time::Duration {
        self.wall()
    }
}

const ISSUER: &str = "https://login.example/{tenantid}/v2.0";
const METADATA: &str = "https://login.example/{tenantid}/v2.0/.well-known/openid-configuration";
/// `{"alg":"RS256","kid":"1","typ":"JWT"}`
const HEADER: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEiLCJ0eXAiOiJKV1QifQ";

#[cfg(test)]
mod tests {
    //! Valid seeds are accepted: otherwise the properties of valid values would never be checked.
    use super::*;
    use keybound_resource::Reason;

    macro_rules! seed {
        ($name:literal) => {
            include_bytes!(concat!("../../seeds/", $name))
        };
    }

    #[test]
    fn claims_reach_the_signature() {
        let claims = URL_SAFE_NO_PAD.encode(seed!("resource_token/claims"));
        let signature = URL_SAFE_NO_PAD.encode([1; 256]);
        let header = format!("mtls_pop {HEADER}.{claims}.{signature}");
        let refusal = VERIFIER
            .verify(header.as_str(), &*CLIENT_CERTIFICATE)
            .unwrap_err();
        assert_eq!(refusal.reason(), Reason::SignatureInvalid);
    }

    #[test]
    fn metadata_leads_to_the_keys() {
        let seed = seed!("resource_metadata/own_host");
        resource_metadata(seed);
        let text = String::from_utf8_lossy(seed);
        assert!(text.contains(&format!("https://login.example/{TENANT}/v2.0")));
    }

    #[test]
    fn headers_have_the_certificate() {
        let everyone = TrustedPeers::everyone;
        let expected = Some(CLIENT_CERTIFICATE.clone());
        for (source, header, value) in [
            (
                ForwardedCertificate::xfcc(everyone()),
                "x-forwarded-client-cert",
                &seed!("resource_xfcc/envoy")[..],
            ),
            (
                ForwardedCertificate::nginx(everyone()),
                "x-ssl-client-cert",
                seed!("resource_certificate_header/nginx"),
            ),
            (
                ForwardedCertificate::rfc9440(everyone()),
                "client-cert",
                seed!("resource_certificate_header/byte_sequence"),
            ),
            (
                ForwardedCertificate::haproxy(everyone()),
                "x-ssl-client-der",
                seed!("resource_certificate_header/der"),
            ),
        ] {
            assert_eq!(forwarded(&source, header, value), expected, "{header}");
        }
    }
}
