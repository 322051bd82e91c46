use super::authority::asn1_time;
use super::token_not_after;
use keybound_core::X5tS256;
use openssl::nid::Nid;
use openssl::x509::{X509, X509Ref, X509VerifyResult};
use std::time::SystemTime;

/// A valid binding certificate of the issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientCertificate {
    /// Its CN.
    pub client_id: String,
    /// Its DC.
    pub tenant_id: String,
    pub thumbprint: X5tS256,
    /// The time until which Entra accepts it for new tokens.
    pub token_not_after: Option<SystemTime>,
}

/// Why a client certificate is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientCertificateProblem {
    /// It cannot be parsed, or does not name one client and one tenant.
    Malformed,
    /// It is signed by another authority.
    Foreign,
    Expired,
    NotYetValid,
}

pub(super) fn check(
    der: &[u8],
    issuer: &X509Ref,
    now: SystemTime,
) -> Result<ClientCertificate, ClientCertificateProblem> {
    use ClientCertificateProblem::{Expired, Foreign, Malformed, NotYetValid};
    let certificate = X509::from_der(der).map_err(|_| Malformed)?;
    let key = issuer.public_key().map_err(|_| Foreign)?;
    let is_issuer = issuer.issued(&certificate) == X509VerifyResult::OK;
    if !is_issuer || !certificate.verify(&key).unwrap_or(false) {
        // An invalid signature leaves an error in OpenSSL's queue, which the next call would return.
        let _ = openssl::error::ErrorStack::get();
        return Err(Foreign);
    }
    let now = asn1_time(now).map_err(|_| Malformed)?;
    if certificate.not_before() > now {
        return Err(NotYetValid);
    }
    if certificate.not_after() < now {
        return Err(Expired);
    }
    Ok(ClientCertificate {
        client_id: single(&certificate, Nid::COMMONNAME).ok_or(Malformed)?,
        tenant_id: single(&certificate, Nid::DOMAINCOMPONENT).ok_or(Malformed)?,
        thumbprint: X5tS256::of_der(der),
        token_not_after: token_not_after::read(der),
    })
}

fn single(certificate: &X509Ref, attribute: Nid) -> Option<String> {
    let mut found = certificate.subject_name().entries_by_nid(attribute);
    let text = found.next()?.data().to_string().ok()?;
    found.next().is_none().then_some(text)
}
