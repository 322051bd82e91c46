use super::authority::{Authority, Template};
use super::token_not_after::TokenNotAfter;
use crate::clock::host_now;
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage};
use openssl::x509::{X509NameRef, X509Ref};
use std::ops::Range;
use std::time::{Duration, SystemTime};

/// The authority that signs binding certificates, the only one that Entra and the resources trust.
pub(super) struct Issuer(Authority);

/// The contents of a binding certificate.
pub(crate) struct ClientCertificateRequest<'a> {
    /// The subject of the CSR.
    pub subject: &'a X509NameRef,
    /// SubjectPublicKeyInfo, DER.
    pub public_key: &'a [u8],
    pub validity: Range<SystemTime>,
    pub token_not_after: Option<TokenNotAfter>,
}

impl Issuer {
    pub fn new() -> Result<Self, ErrorStack> {
        let now = host_now();
        let extensions = vec![
            BasicConstraints::new().critical().ca().pathlen(0).build()?,
            KeyUsage::new()
                .critical()
                .key_cert_sign()
                .crl_sign()
                .build()?,
        ];
        // Certificates follow the emulated clock, so the authority must be valid over its whole range.
        let validity = SystemTime::UNIX_EPOCH..now + LIFETIME;
        Authority::self_signed(COMMON_NAME, validity, extensions).map(Self)
    }

    pub fn certificate(&self) -> &X509Ref {
        &self.0.certificate
    }

    pub fn issue(&self, request: &ClientCertificateRequest<'_>) -> Result<Vec<u8>, ErrorStack> {
        let public_key = PKey::public_key_from_der(request.public_key)?;
        let mut extensions = vec![
            BasicConstraints::new().critical().build()?,
            KeyUsage::new()
                .critical()
                .digital_signature()
                .key_encipherment()
                .build()?,
            ExtendedKeyUsage::new().client_auth().build()?,
        ];
        if let Some(token_not_after) = request.token_not_after {
            extensions.push(token_not_after.extension()?);
        }
        let template = Template {
            subject: request.subject,
            public_key: &public_key,
            validity: request.validity.clone(),
            extensions,
        };
        self.0.sign(&template)?.to_der()
    }
}

/// The name of the real issuer.
pub(super) const COMMON_NAME: &str = "managedidentitysnissuer.login.microsoft.com";
const LIFETIME: Duration = Duration::from_secs(200 * 366 * 24 * 3600);
