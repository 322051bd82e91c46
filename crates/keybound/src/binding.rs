use keybound_core::{Attestation, Certificate, Guid, IssuedCredential, KeyStrength, Result, Stage};
use keybound_keys::BindingKey;
#[cfg(feature = "rustls")]
use keybound_transport::RustlsSetup;
#[cfg(any(feature = "openssl", feature = "rustls"))]
use keybound_transport::TrustAnchors;
use keybound_transport::{ClientIdentity, HttpsClient};
#[cfg(feature = "openssl")]
use keybound_transport::{OpensslSetup, VersionPolicy};
use std::fmt;
use std::sync::Arc;

use crate::settings::Settings;

/// A certificate that IMDS issued, the key that it is for, and the endpoint that gives tokens bound to it.
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
        settings: &Settings,
    ) -> Result<Self> {
        let identity = ClientIdentity::new(credential.certificate.clone(), key)?;
        let client = HttpsClient::new(Some(identity.clone()), settings.https.clone())
            .map_err(|error| error.at(Stage::Token))?;
        Ok(Self {
            credential,
            identity,
            attestation,
            client,
            #[cfg(any(feature = "openssl", feature = "rustls"))]
            trust: settings.https.trust.clone(),
            #[cfg(feature = "openssl")]
            versions: settings.https.versions.clone(),
        })
    }

    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.credential.certificate
    }

    /// The client id that it is issued to.
    pub fn client_id(&self) -> &Guid {
        &self.credential.client_id
    }

    /// The tenant that it is issued in.
    pub fn tenant_id(&self) -> &Guid {
        &self.credential.tenant_id
    }

    /// `identity_type`, as IMDS gave it.
    pub fn identity_type(&self) -> &str {
        &self.credential.identity_type
    }

    /// The key: it signs, it is never read.
    pub fn key(&self) -> &Arc<dyn BindingKey> {
        self.identity.key()
    }

    /// How well the key is protected. See [`is_simulated`](Self::is_simulated) before relying on it.
    pub fn key_strength(&self) -> KeyStrength {
        self.key().strength()
    }

    /// Whether the key only stands for a stronger one (the emulator's).
    pub fn is_simulated(&self) -> bool {
        self.key().is_simulated()
    }

    /// The word to show for the key's strength: `simulated`, or that of [`KeyStrength`].
    pub fn key_strength_label(&self) -> &'static str {
        if self.is_simulated() {
            "simulated"
        } else {
            self.key_strength().as_str()
        }
    }

    /// Whether, and by what, the key was attested.
    pub fn attestation(&self) -> Attestation {
        self.attestation
    }

    /// Sets up OpenSSL for callers with their own OpenSSL stack, with this client's trust and TLS versions. Send
    /// only tokens of this binding on such connections, and `x-ms-tokenboundauth: true` with them to Key Vault and Managed
    /// HSM.
    ///
    /// # Errors
    /// [`HostUnsupported`](keybound_core::ErrorKind::HostUnsupported) where the host's OpenSSL configuration does not let
    /// the key be used.
    #[cfg(feature = "openssl")]
    pub fn openssl(&self) -> Result<OpensslSetup> {
        OpensslSetup::new(&self.identity, &self.trust, &self.versions)
    }

    /// Sets up rustls for callers who have it, with this client's trust. Send only tokens of this binding on such
    /// connections. Key Vault and Managed HSM cannot be called this way: see [`RustlsSetup`].
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
