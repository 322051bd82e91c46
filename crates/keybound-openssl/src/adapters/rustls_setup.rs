mod client_cert_resolver;
mod server_cert_verifier;

use crate::ffi::ServerTrust;
use crate::{ClientIdentity, TrustAnchors};
use client_cert_resolver::ClientCertResolver;
use keybound_core::Error;
use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use server_cert_verifier::ServerVerifier;
use std::sync::Arc;

/// Configures rustls for callers who use it (`reqwest`, `hyper-rustls`, `tonic`): a certificate resolver whose key signs and cannot be
/// read, and a complete `ClientConfig` with it.
///
/// **rustls supports neither renegotiation nor post-handshake authentication.** It works with services that request the certificate
/// in the first handshake: Graph's `mtlstb.graph.microsoft.com`, Entra, your own APIs. Key Vault and Managed HSM request it after
/// they have read the request and cannot be called this way, nor can servers that request it for some paths only (Apache's
/// `SSLVerifyClient` in a location). Keybound's own client and the OpenSSL setup support those.
///
/// rustls signs within the handshake and cannot wait. A key that is [slow](keybound_keys::SigningCost::Slow) signs on another thread.
/// On a worker of a multi-thread tokio runtime, other tasks run meanwhile; elsewhere, also in a `LocalSet`, the thread of the
/// handshake waits, for at most 30 seconds: a key that hangs fails the handshake. If the key does not sign, the handshake fails
/// with [`Error::Other`](rustls::Error::Other), which contains a [`KeyError`](keybound_keys::KeyError). Connections of a renewed
/// certificate's predecessor must not carry the new token: create a new setup, and a client with it, from the binding of the new
/// token.
#[derive(Clone, Debug)]
pub struct RustlsSetup {
    identity: ClientIdentity,
    trust: TrustAnchors,
}

impl RustlsSetup {
    /// A setup with an identity and trust anchors.
    pub fn new(identity: ClientIdentity, trust: TrustAnchors) -> Self {
        Self { identity, trust }
    }

    /// Presents the certificate to every server that requests one, whichever authorities it names. A server that accepts neither
    /// RSA-PSS nor (in TLS 1.2) RSA PKCS#1 signatures with SHA-256, 384 or 512 receives no certificate.
    pub fn client_cert_resolver(&self) -> Arc<dyn ResolvesClientCert> {
        Arc::new(ClientCertResolver::new(&self.identity))
    }

    /// Verifies servers like Keybound's own client: OpenSSL verifies chain and name with the same trust anchors; the provider
    /// verifies signatures. Trust anchors for loopback hosts only do not apply, as nothing checks where the caller connects.
    ///
    /// # Errors
    /// [`HostUnsupported`](keybound_core::ErrorKind::HostUnsupported) if the host's OpenSSL configuration does not allow
    /// it.
    pub fn server_cert_verifier(
        &self,
        provider: &CryptoProvider,
    ) -> Result<Arc<dyn ServerCertVerifier>, Error> {
        Ok(Arc::new(ServerVerifier::new(
            ServerTrust::new(self.trust.for_all())?,
            provider.signature_verification_algorithms,
        )))
    }

    /// A configuration with both: TLS 1.2 and 1.3, no resumption, no early data. ALPN is empty; set
    /// [`alpn_protocols`](ClientConfig::alpn_protocols) if the HTTP library does not.
    ///
    /// The cryptography is that of the provider, such as `rustls::crypto::ring::default_provider()`. No provider is installed for
    /// the process, and an installed one is not used.
    ///
    /// # Errors
    /// [`InvalidRequest`](keybound_core::ErrorKind::InvalidRequest) if the provider has no cipher suites for these versions,
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
                Error::invalid_request("the cryptography provider does not support tls 1.2 and 1.3")
                    .with_source(error)
            })?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(self.client_cert_resolver());
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}
