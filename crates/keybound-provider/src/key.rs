use keybound_keys::{BindingKey, KeyGate, LastKeyError, SignatureScheme, SigningCost};
use std::sync::Arc;

/// A key of the provider: its RSA public key, and the [`BindingKey`] that signs.
pub struct Key {
    /// Big endian, without leading zeros.
    modulus: Vec<u8>,
    exponent: Vec<u8>,
    signer: Option<Arc<dyn BindingKey>>,
    /// Limits the threads of a slow signer.
    gate: KeyGate,
    last_error: Arc<LastKeyError>,
}

impl Key {
    /// A key of modulus and exponent (big endian, without leading zeros) that signs with `signer` and stores its errors.
    pub fn new(
        modulus: Vec<u8>,
        exponent: Vec<u8>,
        signer: Arc<dyn BindingKey>,
        last_error: Arc<LastKeyError>,
    ) -> Self {
        Self {
            modulus,
            exponent,
            gate: signer.gate().cloned().unwrap_or_default(),
            signer: Some(signer),
            last_error,
        }
    }

    pub(crate) fn empty() -> Self {
        Self {
            modulus: vec![],
            exponent: vec![],
            signer: None,
            gate: KeyGate::default(),
            last_error: Arc::default(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.signer.is_none()
    }

    pub(crate) fn has_same_public_key(&self, other: &Self) -> bool {
        self.modulus == other.modulus && self.exponent == other.exponent
    }

    /// Modulus and exponent in the host's byte order.
    pub(crate) fn public_key_native(&self) -> (Vec<u8>, Vec<u8>) {
        let native = |big_endian: &[u8]| {
            let mut bytes = big_endian.to_vec();
            if cfg!(target_endian = "little") {
                bytes.reverse();
            }
            bytes
        };
        (native(&self.modulus), native(&self.exponent))
    }

    pub(crate) fn bits(&self) -> i32 {
        let top = self.modulus.first().map_or(0, |byte| byte.leading_zeros());
        (self.modulus.len() as i32) * 8 - top as i32
    }

    /// NIST SP 800-57, part 1, table 2.
    pub(crate) fn security_bits(&self) -> i32 {
        match self.bits() {
            ..2048 => 80,
            2048..3072 => 112,
            _ => 128,
        }
    }

    pub(crate) fn signature_size(&self) -> usize {
        self.modulus.len()
    }

    /// Signs, or stores the error for the caller. A slow key that hangs does not block this thread longer than its gate's timeout.
    pub(crate) fn sign(&self, scheme: SignatureScheme, digest: &[u8]) -> Option<Vec<u8>> {
        let signer = self.signer.as_ref()?;
        let signed = match signer.signing_cost() {
            SigningCost::Quick => signer.sign(scheme, digest),
            SigningCost::Slow => {
                let (signer, digest) = (Arc::clone(signer), digest.to_vec());
                self.gate.run_blocking(move || signer.sign(scheme, &digest))
            }
        };
        match signed {
            Ok(signature) => Some(signature),
            Err(error) => {
                self.last_error.set(error);
                None
            }
        }
    }
}
