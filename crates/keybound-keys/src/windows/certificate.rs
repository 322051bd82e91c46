use super::certificate_error::CertificateError;
use super::certificate_key;
use super::key::CngKey;
use super::key_prov_info::KeyProvInfo;
use super::native::{self, CertificateContext, Store};
use super::native_certificate::NativeCertificate;
use super::store_path::StorePath;
use super::windows_api::WindowsApi;
use crate::ClientIdentity;
use keybound_core::{Certificate, X5tS256};
use std::fmt;
use std::sync::Arc;

/// A certificate in a Windows certificate store, with a key in CNG: its properties, and a `CERT_CONTEXT` for native code. The
/// private key cannot be read.
pub struct WindowsCertificate {
    certificate: Certificate,
    path: StorePath,
    key: Option<KeyProvInfo>,
    /// `None` once it is closed.
    context: Option<CertificateContext>,
    api: Arc<dyn WindowsApi>,
}

impl WindowsCertificate {
    /// Finds a certificate by its thumbprint: SHA-1 or SHA-256 in hexadecimal. Case, spaces and colons are ignored.
    ///
    /// # Errors
    /// [`CertificateError::MalformedThumbprint`], [`CertificateError::NotFound`], [`CertificateError::LegacyKey`],
    /// [`CertificateError::Store`].
    pub fn by_thumbprint(path: &StorePath, thumbprint: &str) -> Result<Self, CertificateError> {
        let wanted: String = thumbprint
            .chars()
            .filter(|c| !c.is_whitespace() && *c != ':')
            .map(|c| c.to_ascii_uppercase())
            .collect();
        if ![40, 64].contains(&wanted.len()) || !wanted.bytes().all(|c| c.is_ascii_hexdigit()) {
            return Err(CertificateError::MalformedThumbprint);
        }
        Self::find(native::api(), path, |certificate| {
            let prints = certificate.thumbprints();
            prints.sha1 == wanted || prints.sha256 == wanted
        })
    }

    /// Finds the certificate that expires last among those whose subject (such as `CN=…,DC=…`) contains this text. Case is
    /// ignored.
    ///
    /// # Errors
    /// [`CertificateError::NotFound`], [`CertificateError::LegacyKey`], [`CertificateError::Store`].
    pub fn by_subject(path: &StorePath, text: &str) -> Result<Self, CertificateError> {
        let wanted = text.to_lowercase();
        if wanted.trim().is_empty() {
            return Err(CertificateError::NotFound(path.clone()));
        }
        Self::find(native::api(), path, |certificate| {
            certificate.subject().to_lowercase().contains(&wanted)
        })
    }

    pub(super) fn find(
        api: Arc<dyn WindowsApi>,
        path: &StorePath,
        is_wanted: impl Fn(&Certificate) -> bool,
    ) -> Result<Self, CertificateError> {
        let store = Store::read(path)
            .map_err(|status| CertificateError::Store {
                store: path.clone(),
                source: status.into(),
            })?
            .ok_or_else(|| CertificateError::NotFound(path.clone()))?;
        let (certificate, context) = store
            .certificates()
            .into_iter()
            .filter_map(|context| Some((Certificate::from_der(context.der()).ok()?, context)))
            .filter(|(certificate, _)| is_wanted(certificate))
            .max_by_key(|(certificate, _)| certificate.not_after())
            .ok_or_else(|| CertificateError::NotFound(path.clone()))?;
        let key = context.key_prov_info();
        if key.as_ref().is_some_and(|key| key.legacy) {
            return Err(CertificateError::LegacyKey);
        }
        Ok(Self {
            certificate,
            path: path.clone(),
            key,
            context: Some(context),
            api,
        })
    }

    /// The certificate: its DER, PEM, names and times.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// SHA-1 of the DER, which Windows shows as "Thumbprint": 40 digits, upper case.
    pub fn thumbprint_sha1(&self) -> &str {
        &self.certificate.thumbprints().sha1
    }

    /// SHA-256 of the DER: 64 digits, upper case.
    pub fn thumbprint_sha256(&self) -> &str {
        &self.certificate.thumbprints().sha256
    }

    /// SHA-256 of the DER, base64url: the form used in tokens.
    pub fn x5t_s256(&self) -> &X5tS256 {
        &self.certificate.thumbprints().x5t_s256
    }

    /// The certificate in DER.
    pub fn public_certificate_der(&self) -> &[u8] {
        self.certificate.der()
    }

    /// The certificate in PEM.
    pub fn public_certificate_pem(&self) -> String {
        self.certificate.to_pem()
    }

    /// Whether it names a key. [`binding_key`](Self::binding_key) checks whether the key exists.
    pub fn has_private_key(&self) -> bool {
        self.key.is_some()
    }

    /// The store of the certificate.
    pub fn store_path(&self) -> &StorePath {
        &self.path
    }

    /// The container of its key.
    pub fn key_name(&self) -> Option<&str> {
        self.key.as_ref().map(|key| key.container.as_str())
    }

    /// Opens its key for binding tokens, and checks that the certificate is for it. As for the keys of
    /// [`ProviderChain::platform`](crate::ProviderChain::platform), the key must sign, and its provider must not export it. It is
    /// a KeyGuard key only if Microsoft's software provider reports that it is isolated.
    ///
    /// # Errors
    /// [`CertificateError::Closed`], [`CertificateError::NoPrivateKey`], [`CertificateError::KeyMismatch`], or
    /// [`CertificateError::Key`] if the key cannot be opened or does not meet the requirements.
    pub fn binding_key(&self) -> Result<CngKey, CertificateError> {
        let info = self.key_prov_info()?;
        let public_key = self.certificate.public_key_der().to_vec();
        let (key, strength) = certificate_key::open_binding_key(&self.api, info, &public_key)?;
        Ok(CngKey::new(key, public_key, strength, info.clone()))
    }

    /// The certificate and its key for a TLS client.
    ///
    /// # Errors
    /// Those of [`binding_key`](Self::binding_key).
    pub fn client_identity(&self) -> Result<ClientIdentity, CertificateError> {
        let key = Arc::new(self.binding_key()?);
        ClientIdentity::new(self.certificate.clone(), key)
            .map_err(|_| CertificateError::KeyMismatch)
    }

    /// Creates a context for native code: the certificate with an open handle of its key, which the context frees. Strength
    /// and export policy are not checked: native code uses the key.
    ///
    /// # Errors
    /// Those of opening the key in [`binding_key`](Self::binding_key), and [`CertificateError::Context`] if Windows does
    /// not create one. No handle stays open then.
    pub fn create_context(&self) -> Result<NativeCertificate, CertificateError> {
        let info = self.key_prov_info()?;
        NativeCertificate::with_key_handle(&self.api, &self.certificate, info)
    }

    /// Its properties.
    pub fn metadata(&self) -> WindowsCertificateMetadata {
        let certificate = &self.certificate;
        WindowsCertificateMetadata {
            subject: certificate.subject().to_owned(),
            issuer: certificate.issuer().to_owned(),
            thumbprint_sha1: self.thumbprint_sha1().to_owned(),
            thumbprint_sha256: self.thumbprint_sha256().to_owned(),
            x5t_s256: self.x5t_s256().to_string(),
            store_path: self.path.to_string(),
            has_private_key: self.has_private_key(),
            key_name: self.key_name().map(str::to_owned),
        }
    }

    /// Frees the native context; the properties remain readable. Closing again has no effect, and dropping closes.
    pub fn close(&mut self) {
        self.context = None;
    }

    fn key_prov_info(&self) -> Result<&KeyProvInfo, CertificateError> {
        if self.context.is_none() {
            return Err(CertificateError::Closed);
        }
        self.key.as_ref().ok_or(CertificateError::NoPrivateKey)
    }
}

impl fmt::Debug for WindowsCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WindowsCertificate")
            .field("certificate", &self.certificate)
            .field("store", &format_args!("{}", self.path))
            .field("key_name", &self.key_name())
            .field("closed", &self.context.is_none())
            .finish_non_exhaustive()
    }
}

/// The properties of a certificate, all of them public.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WindowsCertificateMetadata {
    /// The subject (RFC 4514).
    pub subject: String,
    /// The issuer (RFC 4514).
    pub issuer: String,
    /// SHA-1 of the DER, hexadecimal.
    pub thumbprint_sha1: String,
    /// SHA-256 of the DER, hexadecimal.
    pub thumbprint_sha256: String,
    /// SHA-256 of the DER, base64url.
    pub x5t_s256: String,
    /// The store, such as `CurrentUser\My`.
    pub store_path: String,
    /// Whether it names a key.
    pub has_private_key: bool,
    /// The container of its key.
    pub key_name: Option<String>,
}
