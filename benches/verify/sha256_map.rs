use keybound_core::X5tS256;
use keybound_resource::{Caller, ClientCertificate, Clock as _, SystemClock};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// A cache as it is often written: the callers by the SHA-256 of their tokens. It checks the expiry and the binding.
#[derive(Default)]
pub struct Sha256Map(HashMap<[u8; 32], (Arc<Caller>, X5tS256)>);

impl Sha256Map {
    pub fn insert(&mut self, token: &str, caller: Arc<Caller>) {
        let thumbprint = caller.thumbprint().clone();
        self.0
            .insert(Sha256::digest(token).into(), (caller, thumbprint));
    }

    pub fn find(&self, token: &str, certificate: &ClientCertificate) -> Option<Arc<Caller>> {
        use subtle::ConstantTimeEq as _;
        let digest: [u8; 32] = Sha256::digest(token).into();
        let (caller, thumbprint) = self.0.get(&digest)?;
        let presented = certificate.thumbprint().as_str().as_bytes();
        let is_bound: bool = thumbprint.as_str().as_bytes().ct_eq(presented).into();
        let now = UNIX_EPOCH + SystemClock::new().wall();
        (is_bound && now < caller.expires()).then(|| Arc::clone(caller))
    }
}
