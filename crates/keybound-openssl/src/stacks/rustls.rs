mod resolver;
mod verifier;

use crate::bridge::ServerTrust;
use crate::{ClientIdentity, TrustAnchors};
use keybound_core::Error;
use resolver::OneCertificate;
use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use std::sync::Arc;
use verifier::SystemVerifier;

/// Sets rustls up for callers who have it (`reqwest`, `hyper-rustls`, `tonic`): a certificate resolver whose key signs and
/// is never read, and a ready `ClientConfig` around it.
///
/// **rustls neither renegotiates nor takes part in post-handshake authentication.** It works with services that ask for
/// the certificate in the first handshake: Graph's `mtlstb.graph.microsoft.com`, Entra, an API of one's own. Key Vault and
/// Managed HSM ask only after they have read the request and cannot be called this way; nor can a server that asks for
/// some paths only (Apache's `SSLVerifyClient` in a location). Keybound's own client and the OpenSSL set-up call those.
///
/// rustls signs within the handshake and cannot wait. A key that is [slow](keybound_keys::SigningCost::Slow) signs on another
/// thread, and makes room for the other tasks of a multi-thread tokio runtime meanwhile; elsewhere, in a `LocalSet` too, the
/// handshake's thread waits, for 30 seconds at most: a key that hangs fails the handshake. Where the key does not sign, the handshake fails with [`Error::Other`](rustls::Error::Other), which holds a
/// [`KeyError`](keybound_keys::KeyError). When the token is renewed with another certificate, connections of the old one
/// must not carry it: make a new set-up, and a new client around it, from the new token's binding.
#[derive(Clone, Debug)]
pub struct RustlsSetup {
    identity: ClientIdentity,
    trust: TrustAnchors,
}

impl RustlsSetup {
    /// From what is presented and whom to trust.
    pub fn new(identity: ClientIdentity, trust: TrustAnchors) -> Self {
        Self { identity, trust }
    }

    /// Presents the certificate to every server that asks, whichever authorities it names. A server that takes neither
    /// RSA-PSS nor (in TLS 1.2) RSA PKCS#1 signatures with SHA-256, 384 or 512 gets no certificate.
    pub fn client_cert_resolver(&self) -> Arc<dyn ResolvesClientCert> {
        Arc::new(OneCertificate::new(&self.identity))
    }

    /// Verifies servers as Keybound's own client does: OpenSSL verifies chain and name with the same trust. Signatures are
    /// the provider's to verify. Trust that was added for loopback hosts only does not count, as nothing checks where the
    /// caller's stack connects to.
    ///
    /// # Errors
    /// [`HostUnsupported`](keybound_core::ErrorKind::HostUnsupported) where the host's OpenSSL configuration does not allow
    /// it.
    pub fn server_cert_verifier(
        &self,
        provider: &CryptoProvider,
    ) -> Result<Arc<dyn ServerCertVerifier>, Error> {
        Ok(Arc::new(SystemVerifier::new(
            ServerTrust::new(&self.trust)?,
            provider.signature_verification_algorithms,
        )))
    }

    /// A configuration of both: TLS 1.2 and 1.3, no resumption, no early data. ALPN is empty; set
    /// [`alpn_protocols`](ClientConfig::alpn_protocols) where the stack above does not do it itself.
    ///
    /// The cryptography is that of the provider, `rustls::crypto::ring::default_provider()` for one. Nothing is installed
    /// for the process, and what is installed there is not used.
    ///
    /// # Errors
    /// [`InvalidRequest`](keybound_core::ErrorKind::InvalidRequest) where the provider has no cipher suites for these versions,
    /// and as [`server_cert_verifier`](Self::server_cert_verifier).
    pub fn client_config(
        &self,
        provider: impl Into<Arc<CryptoProvider>>,
    ) -> Result<ClientConfig, Error> {
        let provider = provider.into();
        let verifier = self.server_cert_verifier(&provider)?;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| {
                Error::invalid_request("the cryptography provider cannot do tls 1.2 and 1.3")
                    .with_source(error)
            })?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(self.client_cert_resolver());
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}
