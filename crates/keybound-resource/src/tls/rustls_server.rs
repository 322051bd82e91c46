use super::listener::{Encrypted, HandshakeFuture, TlsServer};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme};
use std::fmt;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

/// TLS by rustls.
pub struct RustlsServer(TlsAcceptor);

impl RustlsServer {
    /// A server with a configuration whose client verifier is [`AnyClientCertificate`], or one that also verifies the issuer. rustls does
    /// not tell whether it has one: with `with_no_client_auth`, no certificate is requested, and all requests are refused.
    ///
    /// rustls resumes sessions as the configuration says, by default some of the last ones: a resumed one has the certificate of its
    /// first handshake, whose validity is checked with each request. OpenSSL's server resumes none.
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Self(config.into())
    }
}

impl TlsServer for RustlsServer {
    fn handshake(self: Arc<Self>, stream: TcpStream) -> HandshakeFuture {
        Box::pin(async move {
            let stream = self.0.accept(stream).await?;
            let (_, connection) = stream.get_ref();
            let leaf = connection
                .peer_certificates()
                .and_then(|chain| chain.first())
                .map(|leaf| leaf.to_vec());
            Ok((Box::new(stream) as Box<dyn Encrypted>, leaf))
        })
    }
}

impl fmt::Debug for RustlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RustlsServer").finish_non_exhaustive()
    }
}

/// A verifier for servers of rustls that accepts a certificate of any issuer, also an expired one, and verifies that the client has its
/// key. What else a certificate must have is verified with the token.
///
/// A client without a certificate completes the handshake, and its requests are refused with an explanation.
#[derive(Debug)]
pub struct AnyClientCertificate(WebPkiSupportedAlgorithms);

impl AnyClientCertificate {
    /// Verifies signatures of handshakes with the algorithms of a cryptography provider.
    pub fn new(provider: &CryptoProvider) -> Arc<Self> {
        Arc::new(Self(provider.signature_verification_algorithms))
    }
}

impl ClientCertVerifier for AnyClientCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
