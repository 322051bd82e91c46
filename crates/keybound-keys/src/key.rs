use crate::{CngHandle, KeyGate, NativeCertificate};
use keybound_core::{BoxError, Certificate, KeyStrength};
use std::any::Any;
use std::borrow::Cow;
use std::fmt;

/// An RSA-2048 key that signs digests and never yields its private half.
///
/// Signing blocks: [`signing_cost`](Self::signing_cost) tells whether that is to be noticed.
pub trait BindingKey: Send + Sync + fmt::Debug {
    /// The public key: SubjectPublicKeyInfo in DER, rsaEncryption with NULL.
    fn public_key_der(&self) -> &[u8];

    /// Signs a digest of the scheme's hash.
    ///
    /// # Errors
    /// [`KeyError`] where the digest has another length, the scheme is not supported, or the key cannot sign.
    fn sign(&self, scheme: SignatureScheme, digest: &[u8]) -> Result<Vec<u8>, KeyError>;

    /// How well it is protected. For a [simulated](Self::is_simulated) key: what it stands for.
    fn strength(&self) -> KeyStrength;

    /// A name that stays the same for the same key and differs between keys; not a secret.
    fn id(&self) -> &str;

    /// The name under which a later process can open the same key again. `None` where it ends with this process.
    fn persistent_name(&self) -> Option<&str> {
        None
    }

    /// Whether the key of its [name](Self::persistent_name) is still this one. Somebody may have put another in its place:
    /// then what opens keys by their names, as Windows' TLS does, signs with that, while this one may go on signing. Where that
    /// is unknown, true.
    fn is_in_place(&self) -> bool {
        true
    }

    /// Whether signing is quick enough to be done inside an event loop.
    fn signing_cost(&self) -> SigningCost {
        SigningCost::Slow
    }

    /// The gate through which all callers of the key run what blocks. `None` where the key has none in common for them
    /// ([`GatedKey`](crate::GatedKey) adds one): each caller then makes its own.
    fn gate(&self) -> Option<&KeyGate> {
        None
    }

    /// Whether the key only stands for a stronger one (the emulator's). Results then say `simulated`.
    fn is_simulated(&self) -> bool {
        false
    }

    /// What the attestation of this kind of key needs (a key handle, the key itself), for the provider that knows the
    /// kind. `None` where such a key cannot be attested.
    fn attestation_evidence(&self) -> Option<&(dyn Any + Send + Sync)> {
        None
    }

    /// The open handle of a key that lives in Windows CNG, for native code that takes one. `None` for any other key.
    fn cng_handle(&self) -> Option<CngHandle> {
        None
    }

    /// A `CERT_CONTEXT` of a certificate for this key, from which Windows' TLS (SChannel) finds the key. SChannel signs in
    /// another process of the system, so the context has to name a key that is kept in Windows. `None` for any other key, and
    /// on other platforms, where the type has no values.
    fn native_certificate(
        &self,
        _certificate: &Certificate,
    ) -> Option<Result<NativeCertificate, KeyError>> {
        None
    }
}

/// How a digest is signed (RFC 8017). The salt of PSS is as long as the digest, its mask generation uses the same hash.
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
    /// Length of the digest, in bytes.
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
}

/// How long a signature takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a connection's driver runs here or there"
)]
pub enum SigningCost {
    /// Well below a millisecond: may be done inside an event loop.
    Quick,
    /// Perhaps longer: connections are driven on a thread of their own.
    Slow,
}

/// A key or its provider failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct KeyError {
    kind: KeyErrorKind,
    message: Cow<'static, str>,
    source: Option<BoxError>,
}

impl KeyError {
    /// An error of a kind; the message is lower-case, without a full stop.
    pub fn new(kind: KeyErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> KeyErrorKind {
        self.kind
    }
}

/// One kind for each thing that a caller can do differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyErrorKind {
    /// The host offers no such key: try the next provider.
    Unavailable,
    /// Virtualization-based security, which KeyGuard keys need, is not there: switch it on, or go on with a weaker key
    /// where the floor allows it.
    IsolationUnavailable,
    /// A key of the name that KeyGuard keys have is there and is not isolated: remove it or name another, or go on with
    /// a weaker key where the floor allows it.
    NotIsolated,
    /// The best key of the host is below the floor.
    TooWeak,
    /// The key is there and cannot sign this.
    Failed,
}

impl KeyErrorKind {
    /// Whether it says that the host has no such key, so that the next provider is to be tried. All else is a failure.
    pub fn is_absence(self) -> bool {
        matches!(
            self,
            Self::Unavailable | Self::IsolationUnavailable | Self::NotIsolated
        )
    }
}
