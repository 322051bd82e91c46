use crate::Host;
use crate::ffi::{Rejection, ServerTrust};
use openssl::x509::X509VerifyResult;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use std::net::IpAddr;
use std::sync::Arc;

/// Verifies servers with OpenSSL and the trust anchors of Keybound's own client.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    trust: ServerTrust,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerVerifier {
    pub(super) fn new(trust: ServerTrust, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { trust, algorithms }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let host = host_of(server_name).ok_or(CertificateError::NotValidForName)?;
        let others = intermediates.iter().map(AsRef::as_ref);
        self.trust
            .verify(end_entity, others, &host, now.as_secs())
            .map(|()| ServerCertVerified::assertion())
            .map_err(|rejection| Error::InvalidCertificate(certificate_error(rejection)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn host_of(name: &ServerName<'_>) -> Option<Host> {
    match name {
        ServerName::DnsName(name) => Host::parse(name.as_ref()),
        ServerName::IpAddress(ip) => Some(Host::Ip(IpAddr::from(*ip))),
        _ => None,
    }
}

/// The error for the caller, from which rustls chooses its alert.
fn certificate_error(rejection: Rejection) -> CertificateError {
    match rejection {
        Rejection::Malformed => CertificateError::BadEncoding,
        Rejection::NotVerified(errors) => CertificateError::Other(OtherError(Arc::new(errors))),
        Rejection::Invalid(result) => match result.as_raw() {
            openssl_sys::X509_V_ERR_HOSTNAME_MISMATCH
            | openssl_sys::X509_V_ERR_IP_ADDRESS_MISMATCH => CertificateError::NotValidForName,
            openssl_sys::X509_V_ERR_CERT_HAS_EXPIRED => CertificateError::Expired,
            openssl_sys::X509_V_ERR_CERT_NOT_YET_VALID => CertificateError::NotValidYet,
            openssl_sys::X509_V_ERR_CERT_SIGNATURE_FAILURE => CertificateError::BadSignature,
            openssl_sys::X509_V_ERR_INVALID_PURPOSE => CertificateError::InvalidPurpose,
            openssl_sys::X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT
            | openssl_sys::X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY
            | openssl_sys::X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE
            | openssl_sys::X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT
            | openssl_sys::X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN
            | openssl_sys::X509_V_ERR_CERT_UNTRUSTED => CertificateError::UnknownIssuer,
            _ => CertificateError::Other(OtherError(Arc::new(VerifyError(result)))),
        },
    }
}

/// OpenSSL's result if rustls has no error for it.
#[derive(Debug, thiserror::Error)]
#[error("the server's certificate could not be verified: {}", .0.error_string())]
struct VerifyError(X509VerifyResult);
