use crate::{CngHandle, KeyGate, NativeCertificate};
use keybound_core::{BoxError, Certificate, Error, ErrorKind, KeyStrength, Stage};
use std::any::Any;
use std::borrow::Cow;
use std::fmt;

/// An RSA-2048 key that signs digests and never exports its private part.
///
/// Signing blocks; [`signing_cost`](Self::signing_cost) estimates for how long.
pub trait BindingKey: Send + Sync + fmt::Debug {
    /// The public key: SubjectPublicKeyInfo in DER, rsaEncryption with NULL.
    fn public_key_der(&self) -> &[u8];

    /// Signs a digest of the scheme's hash.
    ///
    /// # Errors
    /// [`KeyError`] if the digest has the wrong length, the scheme is not supported, or the key cannot sign.
    fn sign(&self, scheme: SignatureScheme, digest: &[u8]) -> Result<Vec<u8>, KeyError>;

    /// The strength of its protection. A [simulated](Self::is_simulated) key returns the strength that it simulates.
    fn strength(&self) -> KeyStrength;

    /// An identifier that is stable for the key and differs between keys; not a secret.
    fn id(&self) -> &str;

    /// The name under which a later process can open the same key. `None` if the key does not outlive this process.
    fn persistent_name(&self) -> Option<&str> {
        None
    }

    /// Whether its [name](Self::persistent_name) still opens this key. After another program has replaced the key, this handle may
    /// still sign, while code that opens the key by its name, such as Windows' TLS, signs with the other key. True if that
    /// is unknown.
    fn is_current(&self) -> bool {
        true
    }

    /// Whether signing is fast enough for an event loop.
    fn signing_cost(&self) -> SigningCost {
        SigningCost::Slow
    }

    /// The gate through which all callers of the key run blocking operations. `None` if the key has no shared gate
    /// ([`GatedKey`](crate::GatedKey) adds one): each caller then creates its own.
    fn gate(&self) -> Option<&KeyGate> {
        None
    }

    /// Whether the key only simulates a stronger one (the emulator's). Results are then marked as `simulated`.
    fn is_simulated(&self) -> bool {
        false
    }

    /// The input for an attestation of this type of key (a key handle, the key itself), for an attestation provider that knows the
    /// type. `None` if such a key cannot be attested.
    fn attestation_evidence(&self) -> Option<&(dyn Any + Send + Sync)> {
        None
    }

    /// The open handle of a key in Windows CNG, for native code. `None` for any other key.
    fn cng_handle(&self) -> Option<CngHandle> {
        None
    }

    /// A `CERT_CONTEXT` of a certificate for this key, with which Windows' TLS (SChannel) finds the key. SChannel signs in
    /// another process, so the context must name a key that Windows stores. `None` for any other key, and
    /// on other platforms.
    fn native_certificate(
        &self,
        _certificate: &Certificate,
    ) -> Option<Result<NativeCertificate, KeyError>> {
        None
    }
}

/// A signature scheme (RFC 8017). The salt of PSS is as long as the digest; its mask generation uses the same hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignatureScheme {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Pkcs1Sha256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Pkcs1Sha384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Pkcs1Sha512,
    /// RSASSA-PSS with SHA-256.
    PssSha256,
    /// RSASSA-PSS with SHA-384.
    PssSha384,
    /// RSASSA-PSS with SHA-512.
    PssSha512,
}

impl SignatureScheme {
    /// The length of the digest, in bytes.
    pub fn digest_len(self) -> usize {
        match self {
            Self::Pkcs1Sha256 | Self::PssSha256 => 32,
            Self::Pkcs1Sha384 | Self::PssSha384 => 48,
            Self::Pkcs1Sha512 | Self::PssSha512 => 64,
        }
    }

    /// Whether it is one of the PSS schemes.
    pub fn is_pss(self) -> bool {
        matches!(self, Self::PssSha256 | Self::PssSha384 | Self::PssSha512)
    }

    pub(crate) fn check_digest(self, digest: &[u8]) -> Result<(), KeyError> {
        if digest.len() == self.digest_len() {
            return Ok(());
        }
        Err(KeyError::new(
            KeyErrorKind::Failed,
            "the digest has another length than the scheme's hash",
        ))
    }
}

/// The duration of signing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a connection runs on the event loop or on a thread"
)]
pub enum SigningCost {
    /// Well below a millisecond: can run inside an event loop.
    Quick,
    /// Possibly longer: connections run on a separate thread.
    Slow,
}

/// An error of a key or its provider.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct KeyError {
    kind: KeyErrorKind,
    message: Cow<'static, str>,
    source: Option<BoxError>,
}

impl KeyError {
    /// An error with a message, which is lower-case, without a full stop.
    pub fn new(kind: KeyErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// [`TooWeak`](KeyErrorKind::TooWeak): the strength of the host's best key is below the minimum.
    pub fn too_weak(best: KeyStrength, minimum: KeyStrength) -> Self {
        Self::new(
            KeyErrorKind::TooWeak,
            format!("the best key of this host is {best}, the required minimum is {minimum}"),
        )
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The kind of failure.
    pub fn kind(&self) -> KeyErrorKind {
        self.kind
    }
}

/// An error at stage key, with the key's error as its cause.
impl From<KeyError> for Error {
    fn from(error: KeyError) -> Self {
        let kind = match error.kind {
            KeyErrorKind::Unavailable => ErrorKind::KeyUnavailable,
            KeyErrorKind::IsolationUnavailable | KeyErrorKind::NotIsolated => {
                ErrorKind::KeyIsolationUnavailable
            }
            KeyErrorKind::TooWeak => ErrorKind::KeyTooWeak,
            KeyErrorKind::Failed => ErrorKind::KeyFailed,
        };
        Self::new(kind, Stage::Key, error.message.clone()).with_source(error)
    }
}

/// The kind of a [`KeyError`]: kinds differ in what a caller can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyErrorKind {
    /// The host has no such key: try the next provider.
    Unavailable,
    /// Virtualization-based security, which KeyGuard keys require, is unavailable: enable it, or use a weaker key
    /// if the minimum key strength allows it.
    IsolationUnavailable,
    /// The key in the container of the KeyGuard key is not isolated: remove it, name another container, or use a weaker key if
    /// the minimum key strength allows it.
    NotIsolated,
    /// The best key of the host is below the minimum key strength.
    TooWeak,
    /// The key exists and failed.
    Failed,
}

impl KeyErrorKind {
    /// Whether the host has no such key, so that the next provider is tried. Every other kind is a failure.
    pub fn is_absence(self) -> bool {
        matches!(
            self,
            Self::Unavailable | Self::IsolationUnavailable | Self::NotIsolated
        )
    }
}
