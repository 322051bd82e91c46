use keybound_core::{Attestation, Certificate, Guid, IssuedCredential, KeyStrength, Result, Stage};
use keybound_keys::BindingKey;
#[cfg(feature = "rustls")]
use keybound_transport::RustlsSetup;
#[cfg(any(feature = "openssl", feature = "rustls"))]
use keybound_transport::TrustAnchors;
use keybound_transport::{ClientIdentity, HttpsClient, HttpsSettings};
#[cfg(feature = "openssl")]
use keybound_transport::{OpensslSetup, VersionPolicy};
use std::fmt;
use std::sync::Arc;

/// A certificate that IMDS issued, its key, and the endpoint that issues tokens bound to it.
pub struct Binding {
    credential: IssuedCredential,
    identity: ClientIdentity,
    attestation: Attestation,
    client: HttpsClient,
    #[cfg(any(feature = "openssl", feature = "rustls"))]
    trust: TrustAnchors,
    #[cfg(feature = "openssl")]
    versions: VersionPolicy,
}

impl Binding {
    pub(crate) fn new(
        credential: IssuedCredential,
        key: Arc<dyn BindingKey>,
        attestation: Attestation,
        https: &HttpsSettings,
    ) -> Result<Self> {
        let identity = ClientIdentity::new(credential.certificate.clone(), key)?;
        let client = HttpsClient::new(Some(identity.clone()), https.clone())
            .map_err(|error| error.at(Stage::Token))?;
        Ok(Self {
            credential,
            identity,
            attestation,
            client,
            #[cfg(any(feature = "openssl", feature = "rustls"))]
            trust: https.trust.clone(),
            #[cfg(feature = "openssl")]
            versions: https.versions.clone(),
        })
    }

    /// The same certificate and key over connections with other settings.
    ///
    /// # Errors
    /// If they do not allow the key.
    pub(crate) fn with_https(&self, https: &HttpsSettings) -> Result<Self> {
        let key = Arc::clone(self.key());
        Self::new(self.credential.clone(), key, self.attestation, https)
    }

    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.credential.certificate
    }

    /// The client id in the certificate.
    pub fn client_id(&self) -> &Guid {
        &self.credential.client_id
    }

    /// The tenant id in the certificate.
    pub fn tenant_id(&self) -> &Guid {
        &self.credential.tenant_id
    }

    /// The `identity_type` that IMDS returned.
    pub fn identity_type(&self) -> &str {
        &self.credential.identity_type
    }

    /// The binding key.
    pub fn key(&self) -> &Arc<dyn BindingKey> {
        self.identity.key()
    }

    /// The strength of the key. A simulated key has the strength of the key that it simulates: see
    /// [`is_simulated`](Self::is_simulated).
    pub fn key_strength(&self) -> KeyStrength {
        self.key().strength()
    }

    /// Whether the key is simulated (of the emulator).
    pub fn is_simulated(&self) -> bool {
        self.key().is_simulated()
    }

    /// The name of the key's strength for users: `simulated`, or that of [`KeyStrength`].
    pub fn key_strength_label(&self) -> &'static str {
        if self.is_simulated() {
            "simulated"
        } else {
            self.key_strength().as_str()
        }
    }

    /// How the key was attested, if it was.
    pub fn attestation(&self) -> Attestation {
        self.attestation
    }

    /// Configures OpenSSL for callers with their own TLS connections, with this client's trust and TLS versions. Send only
    /// tokens of this binding on such connections, with the header `x-ms-tokenboundauth: true` to Key Vault and Managed HSM.
    ///
    /// # Errors
    /// [`HostUnsupported`](keybound_core::ErrorKind::HostUnsupported) if the host's OpenSSL configuration does not allow the
    /// key.
    #[cfg(feature = "openssl")]
    pub fn openssl(&self) -> Result<OpensslSetup> {
        OpensslSetup::new(&self.identity, &self.trust, &self.versions)
    }

    /// Configures rustls for callers with their own TLS connections, with this client's trust. Send only tokens of this binding
    /// on such connections. Key Vault and Managed HSM are not supported: see [`RustlsSetup`].
    #[cfg(feature = "rustls")]
    pub fn rustls(&self) -> RustlsSetup {
        RustlsSetup::new(self.identity.clone(), self.trust.clone())
    }

    pub(crate) fn https(&self) -> &HttpsClient {
        &self.client
    }

    pub(crate) fn credential(&self) -> &IssuedCredential {
        &self.credential
    }
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding")
            .field("certificate", self.certificate())
            .field("key_strength", &self.key_strength_label())
            .field("attestation", &self.attestation)
            .finish_non_exhaustive()
    }
}
