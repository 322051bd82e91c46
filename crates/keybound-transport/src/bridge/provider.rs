//! An OpenSSL 3 provider whose RSA keys are [`BindingKey`]s. It links no libcrypto: libcrypto calls it, and what it needs
//! from there comes as function pointers at its start. It lists keys only while they are on their way into an `EVP_PKEY`.
mod abi;
mod keymgmt;
mod module;
mod signature;

pub(super) use abi::{Dispatch, Param};
pub(super) use keymgmt::{KEY_PARAM, Offer};
pub(super) use module::{NAME, PROPERTIES, init};

use crate::key_failures::KeyFailures;
use keybound_keys::{BindingKey, KeyGate, SignatureScheme, SigningCost};
use std::sync::Arc;

/// A key as the provider knows it: the numbers of its public half, and who signs.
pub(super) struct Key {
    /// Big endian, without leading zeros.
    modulus: Vec<u8>,
    exponent: Vec<u8>,
    signer: Option<Arc<dyn BindingKey>>,
    /// Through which a slow signer signs.
    gate: KeyGate,
    failures: Arc<KeyFailures>,
}

impl Key {
    pub(super) fn new(
        modulus: Vec<u8>,
        exponent: Vec<u8>,
        signer: Arc<dyn BindingKey>,
        failures: Arc<KeyFailures>,
    ) -> Self {
        Self {
            modulus,
            exponent,
            gate: signer.gate().cloned().unwrap_or_default(),
            signer: Some(signer),
            failures,
        }
    }

    fn empty() -> Self {
        Self {
            modulus: vec![],
            exponent: vec![],
            signer: None,
            gate: KeyGate::default(),
            failures: Arc::default(),
        }
    }

    fn is_empty(&self) -> bool {
        self.signer.is_none()
    }

    fn has_same_public_half(&self, other: &Self) -> bool {
        self.modulus == other.modulus && self.exponent == other.exponent
    }

    /// Modulus and exponent in the host's byte order.
    fn public_half_native(&self) -> (Vec<u8>, Vec<u8>) {
        let native = |big_endian: &[u8]| {
            let mut bytes = big_endian.to_vec();
            if cfg!(target_endian = "little") {
                bytes.reverse();
            }
            bytes
        };
        (native(&self.modulus), native(&self.exponent))
    }

    fn bits(&self) -> i32 {
        let top = self.modulus.first().map_or(0, |byte| byte.leading_zeros());
        (self.modulus.len() as i32) * 8 - top as i32
    }

    /// NIST SP 800-57, part 1, table 2.
    fn security_bits(&self) -> i32 {
        match self.bits() {
            ..2048 => 80,
            2048..3072 => 112,
            _ => 128,
        }
    }

    fn signature_size(&self) -> usize {
        self.modulus.len()
    }

    /// Signs, or keeps the reason for whoever reports the failure. A slow key that hangs does not keep this thread.
    fn sign(&self, scheme: SignatureScheme, digest: &[u8]) -> Option<Vec<u8>> {
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
                self.failures.put(error);
                None
            }
        }
    }
}
