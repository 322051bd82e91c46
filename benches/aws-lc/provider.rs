use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER as AWS_LC;
use jsonwebtoken::crypto::{CryptoProvider, KeyUtils};
use jsonwebtoken::errors::ErrorKind;
use keybound_testing::RING;
use std::sync::atomic::{AtomicBool, Ordering};

/// The provider of the process, of which there is only one: that of the chosen backend.
pub static EITHER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::InvalidAlgorithm.into()),
    verifier_factory: |algorithm, key| {
        let provider = match IS_RING.load(Ordering::Relaxed) {
            true => &RING,
            false => &AWS_LC,
        };
        (provider.verifier_factory)(algorithm, key)
    },
    key_utils: KeyUtils::new_unimplemented(),
};

/// What verifies signatures for the crate jsonwebtoken.
#[derive(Clone, Copy, PartialEq)]
pub enum Backend {
    AwsLc,
    Ring,
}

impl Backend {
    pub fn choose(self) {
        IS_RING.store(self == Self::Ring, Ordering::Relaxed);
    }
}

static IS_RING: AtomicBool = AtomicBool::new(false);
