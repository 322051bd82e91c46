use crate::issuer::{Issuer, Template};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::bn::BigNum;
use openssl::error::ErrorStack;
use openssl::md::Md;
use openssl::pkey::{PKey, Public};
use openssl::pkey_ctx::PkeyCtx;
use openssl::rsa::{Padding, Rsa};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// An RSA key of an issuer, with OpenSSL's contexts for it: setting one up costs a fifth of a verification.
pub(crate) struct VerificationKey {
    id: String,
    /// The issuer whose tokens it signs; `None`: any issuer that publishes it.
    issuer: Option<Template>,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
    key: PKey<Public>,
    /// Those that no thread uses. There are at most as many as threads that verified at the same time.
    contexts: Mutex<Vec<PkeyCtx<Public>>>,
    /// The issuer has removed or replaced it.
    retired: AtomicBool,
}

impl VerificationKey {
    /// A key from its components, big-endian. `None` if it is weaker than RSA-2048, longer than 4096 bits, or not RSA.
    pub(crate) fn new(
        id: String,
        issuer: Option<String>,
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    ) -> Option<Self> {
        let key = public_key(&modulus, &exponent).ok()??;
        Some(Self {
            id,
            issuer: issuer.as_deref().map(Template::new),
            modulus,
            exponent,
            key,
            contexts: Mutex::default(),
            retired: AtomicBool::new(false),
        })
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// As a JSON Web Key (RFC 7517 section 4).
    pub(crate) fn to_jwk(&self) -> Value {
        let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = json!({
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": self.id,
            "n": number(&self.modulus),
            "e": number(&self.exponent),
        });
        if let Some(issuer) = &self.issuer {
            jwk["issuer"] = issuer.to_string().into();
        }
        jwk
    }

    /// The public key in PEM. `None` if OpenSSL fails.
    pub(crate) fn to_pem(&self) -> Option<String> {
        String::from_utf8(self.key.public_key_to_pem().ok()?).ok()
    }

    /// Whether it signs tokens of this issuer in this tenant.
    pub(crate) fn belongs_to(&self, issuer: &Issuer, tid: &str) -> bool {
        let is_accepted = |own| issuer.accepts_key_of(own, tid);
        self.issuer.as_ref().is_none_or(is_accepted)
    }

    /// Verifies an RSASSA-PKCS1-v1_5 signature over the SHA-256 of a message. False for any other signature, and if OpenSSL fails.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        if signature.len() != self.key.size() {
            return false;
        }
        let digest = Sha256::digest(message);
        let Some(mut context) = self.context() else {
            return false;
        };
        let is_valid = matches!(context.verify(&digest, signature), Ok(true));
        self.contexts().push(context);
        is_valid
    }

    /// Whether the other one is the same key for the same issuer.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.id == other.id
            && self.modulus == other.modulus
            && self.exponent == other.exponent
            && self.issuer == other.issuer
    }

    /// Records that the issuer has removed it: cached decisions no longer count.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    fn context(&self) -> Option<PkeyCtx<Public>> {
        if let Some(context) = self.contexts().pop() {
            return Some(context);
        }
        let new = || -> Result<_, ErrorStack> {
            let mut context = PkeyCtx::new(&self.key)?;
            context.verify_init()?;
            context.set_rsa_padding(Padding::PKCS1)?;
            context.set_signature_md(Md::sha256())?;
            Ok(context)
        };
        new().ok()
    }

    fn contexts(&self) -> std::sync::MutexGuard<'_, Vec<PkeyCtx<Public>>> {
        // A panic cannot leave the list incomplete.
        self.contexts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerificationKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

fn public_key(modulus: &[u8], exponent: &[u8]) -> Result<Option<PKey<Public>>, ErrorStack> {
    let (n, e) = (BigNum::from_slice(modulus)?, BigNum::from_slice(exponent)?);
    // An even modulus is no product of two primes; OpenSSL limits the exponent of long keys to 64 bits.
    let is_acceptable = (MIN_BITS..=MAX_BITS).contains(&n.num_bits())
        && n.is_bit_set(0)
        && e.is_bit_set(0)
        && (2..=MAX_EXPONENT_BITS).contains(&e.num_bits());
    if !is_acceptable {
        return Ok(None);
    }
    let rsa = Rsa::from_public_components(n, e)?;
    Ok(Some(PKey::from_rsa(rsa)?))
}

const MIN_BITS: i32 = 2048;
const MAX_BITS: i32 = 4096;
const MAX_EXPONENT_BITS: i32 = 64;
