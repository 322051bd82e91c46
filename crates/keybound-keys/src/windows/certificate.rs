use super::existing::{self, Refused};
use super::key::CngKey;
use super::msal_certificate_cache::KeyPlace;
use super::native::store::{StoreLocation, StorePath};
use super::native::{self, CertificateContext, Store};
use super::ncrypt_api::NcryptApi;
use super::status::Status;
use crate::KeyError;
use keybound_core::{Certificate, X5tS256};
use std::ffi::c_void;
use std::fmt;
use std::sync::Arc;

/// A certificate in a store of Windows whose key is in CNG: what can be said of it, and a `CERT_CONTEXT` for native code
/// that wants one. Private bytes are not to be had.
pub struct WindowsCertificate {
    certificate: Certificate,
    path: StorePath,
    key: Option<KeyPlace>,
    context: Option<CertificateContext>,
    api: Arc<dyn NcryptApi>,
}

impl WindowsCertificate {
    /// The certificate with this thumbprint: SHA-1 or SHA-256 in hexadecimal, in which case, spaces and colons do not
    /// matter.
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

    /// Of the certificates whose subject (such as `CN=…,DC=…`) holds this text, in which case does not matter, the one that
    /// ends last.
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
        api: Arc<dyn NcryptApi>,
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
        let key = context.key_place();
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

    /// SHA-1 of the DER, what Windows shows as "Thumbprint": 40 digits, upper case.
    pub fn thumbprint_sha1(&self) -> &str {
        &self.certificate.thumbprints().sha1
    }

    /// SHA-256 of the DER: 64 digits, upper case.
    pub fn thumbprint_sha256(&self) -> &str {
        &self.certificate.thumbprints().sha256
    }

    /// The form used in tokens.
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

    /// Whether it names a key. Whether that is there, [`binding_key`](Self::binding_key) tells.
    pub fn has_private_key(&self) -> bool {
        self.key.is_some()
    }

    /// The store that it is from.
    pub fn store_path(&self) -> &StorePath {
        &self.path
    }

    /// The container of its key.
    pub fn key_name(&self) -> Option<&str> {
        self.key.as_ref().map(|key| key.name.as_str())
    }

    /// Opens its key for binding tokens, and checks that the certificate is for it. As keys that Keybound makes, it has to
    /// sign, and its provider must not export it. It counts as a KeyGuard key only where Microsoft's software provider says
    /// that it is isolated.
    ///
    /// # Errors
    /// [`CertificateError::Closed`], [`CertificateError::NoPrivateKey`], [`CertificateError::KeyMismatch`], or
    /// [`CertificateError::Key`] where the key cannot be opened or must not be used.
    pub fn binding_key(&self) -> Result<CngKey, CertificateError> {
        let place = self.place()?;
        let public_key = self.certificate.public_key_der().to_vec();
        let (key, strength) = existing::open_binding_key(&self.api, place, &public_key)?;
        Ok(CngKey::new(key, public_key, strength, place.clone()))
    }

    /// A context of its own for native code: the certificate with an open handle of its key, which the context frees.
    ///
    /// # Errors
    /// Those of opening the key in [`binding_key`](Self::binding_key), and [`CertificateError::Context`] where Windows does
    /// not make one. Nothing is left open then. Strength and export policy do not matter here: native code uses the key.
    pub fn create_context(&self) -> Result<NativeCertificate, CertificateError> {
        NativeCertificate::new(&self.api, &self.certificate, self.place()?)
    }

    /// Its public properties.
    pub fn metadata(&self) -> WindowsCertificateMetadata {
        let shown = &self.certificate;
        WindowsCertificateMetadata {
            subject: shown.subject().to_owned(),
            issuer: shown.issuer().to_owned(),
            thumbprint_sha1: self.thumbprint_sha1().to_owned(),
            thumbprint_sha256: self.thumbprint_sha256().to_owned(),
            x5t_s256: self.x5t_s256().to_string(),
            store_path: self.path.to_string(),
            has_private_key: self.has_private_key(),
            key_name: self.key_name().map(str::to_owned),
        }
    }

    /// Lets go of what Windows holds for it; what is known of it stays. Closing again does nothing, and dropping closes.
    pub fn close(&mut self) {
        self.context = None;
    }

    fn place(&self) -> Result<&KeyPlace, CertificateError> {
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

/// A `CERT_CONTEXT` with its key, owned.
#[derive(Debug)]
pub struct NativeCertificate(CertificateContext);

impl NativeCertificate {
    /// Takes a context over.
    ///
    /// # Safety
    /// `context` is a `PCCERT_CONTEXT` that the caller has and gives away: it is freed with this value. Keys and handles
    /// among its properties are as Windows' documentation of them asks for.
    #[allow(unsafe_code, reason = "what makes a pointer a context is a promise")]
    pub unsafe fn from_ptr(context: *const c_void) -> Option<Self> {
        // SAFETY: the caller's promise.
        unsafe { CertificateContext::take(context.cast()) }.map(Self)
    }

    /// A certificate with its key, opened again for the context.
    pub(super) fn new(
        api: &Arc<dyn NcryptApi>,
        certificate: &Certificate,
        place: &KeyPlace,
    ) -> Result<Self, CertificateError> {
        let key = existing::open(api, place, certificate.public_key_der())?;
        let mut context =
            CertificateContext::of_der(certificate.der()).map_err(CertificateError::context)?;
        context
            .set_key_place(place)
            .and_then(|()| context.give_key(key))
            .map_err(CertificateError::context)?;
        Ok(Self(context))
    }

    /// A certificate that says where its key is kept. Nothing is opened: its user finds the key there.
    pub(super) fn naming(
        certificate: &Certificate,
        place: &KeyPlace,
    ) -> Result<Self, CertificateError> {
        let mut context =
            CertificateContext::of_der(certificate.der()).map_err(CertificateError::context)?;
        context
            .set_key_place(place)
            .map_err(CertificateError::context)?;
        Ok(Self(context))
    }

    /// One more reference to the same context.
    #[must_use]
    pub fn share(&self) -> Option<Self> {
        self.0.share_again().map(Self)
    }

    #[cfg(test)]
    pub(super) fn der(&self) -> &[u8] {
        self.0.der()
    }

    #[cfg(test)]
    pub(super) fn key_place(&self) -> Option<KeyPlace> {
        self.0.key_place()
    }

    /// The `PCCERT_CONTEXT`, for as long as this value lives.
    pub fn as_ptr(&self) -> *const c_void {
        self.0.as_ptr().cast()
    }

    /// The `PCCERT_CONTEXT` for good: its owner frees it by `CertFreeCertificateContext`.
    pub fn into_ptr(self) -> *const c_void {
        self.0.into_ptr().cast()
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

/// A certificate of Windows is not to be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The thumbprint is neither 40 nor 64 hexadecimal digits: correct it.
    #[error("a thumbprint is 40 (SHA-1) or 64 (SHA-256) hexadecimal digits")]
    MalformedThumbprint,
    /// No such certificate is in this store: look at its name, and whose store it is.
    #[error("no such certificate is in {} {}", .0, whose(.0))]
    NotFound(StorePath),
    /// The key is in a CryptoAPI provider: import the certificate with its key again, into a CNG provider.
    #[error(
        "the certificate's key is in a legacy CryptoAPI provider; only keys in CNG are used: import it again by `certutil \
         -csp \"Microsoft Software Key Storage Provider\" -importpfx FILE` (`certutil -user …` for the stores of this \
         account)"
    )]
    LegacyKey,
    /// The certificate names no key.
    #[error("the certificate has no private key")]
    NoPrivateKey,
    /// The key of that name is not the one of the certificate: it was replaced.
    #[error("the certificate is for another key than the one in its container")]
    KeyMismatch,
    /// It was closed: take it from the store again.
    #[error("the certificate has been closed: take it from the store again")]
    Closed,
    /// The key could not be opened, or must not be used.
    #[error("the certificate's key cannot be used")]
    Key(#[source] KeyError),
    /// The store could not be opened: those of the machine may want an administrator.
    #[error("the certificate store {store} ({}) could not be opened", whose(.store))]
    Store {
        /// Which store.
        store: StorePath,
        /// What Windows said.
        source: keybound_core::BoxError,
    },
    /// Windows makes no context of the certificate with its key.
    #[error("windows does not bring the certificate and its key together")]
    Context(#[source] keybound_core::BoxError),
}

impl From<Refused> for CertificateError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Key(error) => Self::Key(error),
            Refused::Mismatch => Self::KeyMismatch,
        }
    }
}

impl CertificateError {
    fn context(status: Status) -> Self {
        Self::Context(status.into())
    }
}

fn whose(path: &StorePath) -> &'static str {
    match path.location() {
        StoreLocation::CurrentUser => "of the account that this program runs as",
        StoreLocation::LocalMachine => "of the machine, which may want an administrator",
    }
}
