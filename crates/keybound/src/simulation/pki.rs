//! The issuer of the certificates.
use keybound_core::{Certificate, X5tS256};
use keybound_testing::{CertificateBuilder, shared_p256_key};
use openssl::x509::{X509, X509Req};
use std::ops::Range;
use std::time::{Duration, SystemTime};

/// A certificate that IMDS issued. Certificates are numbered from 1.
#[derive(Clone)]
pub(super) struct CertificateRecord {
    pub(super) der: Vec<u8>,
    pub(super) thumbprint: String,
    /// The client id, the public key, and whether it was attested.
    pub(super) holder: (String, Vec<u8>, bool),
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
    pub(super) token_not_after: Option<SystemTime>,
}

/// A parsed certificate signing request.
pub(super) struct SigningRequest {
    request: X509Req,
    pub(super) public_key: Vec<u8>,
}

/// Parses a certificate signing request and verifies its signature.
pub(super) fn read(csr: &[u8]) -> Option<SigningRequest> {
    let request = X509Req::from_der(csr).ok()?;
    let key = request.public_key().ok()?;
    let public_key = key.public_key_to_der().ok()?;
    request.verify(&key).ok()?.then_some(SigningRequest {
        request,
        public_key,
    })
}

/// Issues a certificate for a request, valid from shortly before now; tokens are issued for it for that time.
pub(super) fn sign(
    request: &SigningRequest,
    holder: (String, Vec<u8>, bool),
    now: SystemTime,
    lifetime: Duration,
    tokens: Option<Duration>,
) -> CertificateRecord {
    let not_before = now - BACKDATED;
    let not_after = not_before + lifetime;
    let token_not_after = tokens.map(|life| not_before + life);
    let builder = CertificateBuilder::for_public_key(&request.public_key)
        .subject_name(request.request.subject_name())
        .issuer(ISSUER_NAME)
        .validity(not_before..not_after);
    let der = signed(builder, token_not_after);
    CertificateRecord {
        thumbprint: X5tS256::of_der(&der).to_string(),
        der,
        holder,
        not_before,
        not_after,
        token_not_after,
    }
}

/// Returns a certificate that IMDS did not issue, with the key and the subject of one that it did.
pub(super) fn plant(
    original: &Certificate,
    issuer: &str,
    validity: Range<SystemTime>,
    token_not_after: Option<SystemTime>,
) -> Certificate {
    let original = X509::from_der(original.der()).unwrap();
    let builder = CertificateBuilder::new(&*original.public_key().unwrap())
        .subject_name(original.subject_name())
        .issuer(issuer)
        .validity(validity);
    Certificate::from_der(&signed(builder, token_not_after)).unwrap()
}

fn signed(builder: CertificateBuilder, token_not_after: Option<SystemTime>) -> Vec<u8> {
    let builder = match token_not_after {
        Some(end) => builder.token_not_after(end),
        None => builder,
    };
    builder.sign(shared_p256_key()).to_der().unwrap()
}

/// The CN of the issuer of managed identities' certificates.
pub(super) const ISSUER_NAME: &str = "managedidentitysnissuer.login.microsoft.com";
/// A client whose clock is slightly behind accepts the certificate.
const BACKDATED: Duration = Duration::from_secs(5 * 60);
