use crate::{ClientCertificate, Reason};
use keybound_core::Guid;
use openssl::asn1::Asn1Time;
use openssl::error::ErrorStack;
use openssl::stack::Stack;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{X509, X509Ref, X509StoreContext};
use std::error::Error;
use std::fmt;

/// What a client certificate must have besides the thumbprint in the token, its validity and a strong key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateRules {
    managed_identity_names: bool,
    /// PEM.
    trusted_issuers: Option<Vec<u8>>,
}

impl CertificateRules {
    /// No further rules. The default.
    pub fn new() -> Self {
        Self::default()
    }

    /// The names must be those of a managed identity: CN is the token's client, DC its tenant. Certificates of applications have
    /// other names.
    #[must_use]
    pub fn managed_identity_names(mut self) -> Self {
        self.managed_identity_names = true;
        self
    }

    /// The certificate must also have been issued by one of these CAs, whose certificates are in PEM. Default: any issuer, as the token
    /// names the certificate. Only the client's own certificate is known, so the list has the CA that signed it, and further ones
    /// only where that CA is to be trusted through them. Each is trusted as if it were a root. Validity and constraints of the CAs are
    /// verified when a token is verified for the first time.
    #[must_use]
    pub fn trusted_issuers(mut self, pem: &[u8]) -> Self {
        self.trusted_issuers = Some(pem.to_vec());
        self
    }

    /// Fails if the trusted issuers are not certificates in PEM.
    pub(crate) fn compile(&self) -> Result<CertificatePolicy, Box<dyn Error + Send + Sync>> {
        let trusted = match &self.trusted_issuers {
            None => None,
            Some(pem) => Some(TrustedIssuers::from_pem(pem)?),
        };
        Ok(CertificatePolicy {
            managed_identity_names: self.managed_identity_names,
            trusted,
        })
    }
}

/// The rules of a verifier.
#[derive(Debug)]
pub(crate) struct CertificatePolicy {
    managed_identity_names: bool,
    trusted: Option<TrustedIssuers>,
}

impl CertificatePolicy {
    /// Checks the certificate to which the token of a client is bound.
    pub(crate) fn check(
        &self,
        certificate: &ClientCertificate,
        client: &str,
        tenant: &Guid,
        now: i64,
    ) -> Result<(), Reason> {
        let certificate = certificate.certificate();
        let has_names = |client: &Guid| certificate.check_names(client, tenant).is_ok();
        if self.managed_identity_names && !Guid::parse(client).as_ref().is_some_and(has_names) {
            return Err(Reason::CertificateNames);
        }
        let issued = |trusted: &TrustedIssuers| trusted.issued(certificate.der(), now);
        if !self.trusted.as_ref().is_none_or(issued) {
            return Err(Reason::CertificateUntrusted);
        }
        Ok(())
    }
}

struct TrustedIssuers(X509Store);

impl TrustedIssuers {
    fn from_pem(pem: &[u8]) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let certificates = cleared(X509::stack_from_pem(pem))?;
        if certificates.is_empty() {
            return Err("there is no certificate".into());
        }
        let new = || -> Result<_, ErrorStack> {
            let mut store = X509StoreBuilder::new()?;
            // The times are compared with the verifier's clock below.
            store.set_flags(X509VerifyFlags::PARTIAL_CHAIN | X509VerifyFlags::NO_CHECK_TIME)?;
            for certificate in &certificates {
                store.add_cert(certificate.clone())?;
            }
            Ok(store.build())
        };
        Ok(Self(cleared(new())?))
    }

    /// Whether one of the issuers issued a certificate (DER). False if OpenSSL fails.
    fn issued(&self, der: &[u8], now: i64) -> bool {
        let verify = || -> Result<bool, ErrorStack> {
            let certificate = X509::from_der(der)?;
            let now = Asn1Time::from_unix(now)?;
            let is_valid =
                |issuer: &X509Ref| issuer.not_before() <= now && now <= issuer.not_after();
            let mut context = X509StoreContext::new()?;
            let others = Stack::new()?;
            context.init(&self.0, &certificate, &others, |context| {
                let is_trusted = context.verify_cert()?;
                let chain = context.chain();
                Ok(is_trusted && chain.is_some_and(|chain| chain.iter().skip(1).all(is_valid)))
            })
        };
        cleared(verify()).unwrap_or(false)
    }
}

impl fmt::Debug for TrustedIssuers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustedIssuers").finish_non_exhaustive()
    }
}

/// The result. OpenSSL's queue of errors is left empty, also after a chain that was not accepted.
fn cleared<T>(result: Result<T, ErrorStack>) -> Result<T, ErrorStack> {
    let _ = ErrorStack::get();
    result
}
