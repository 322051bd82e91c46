use keybound_testing::attacks::TestIssuer;
use openssl::md::Md;
use openssl::pkey::{PKey, Public};
use openssl::pkey_ctx::PkeyCtx;
use openssl::rsa::Padding;
use sha2::{Digest as _, Sha256};
use std::cell::RefCell;

/// The signature of a token by OpenSSL with a kept context, and nothing else.
pub struct BareSignature {
    context: RefCell<PkeyCtx<Public>>,
    message: Vec<u8>,
    signature: Vec<u8>,
}

impl BareSignature {
    pub fn new(issuer: &TestIssuer, token: &str) -> Self {
        use base64::Engine as _;
        let der = issuer.key("any").public_key_to_der().unwrap();
        let key = PKey::public_key_from_der(&der).unwrap();
        let mut context = PkeyCtx::new(&key).unwrap();
        context.verify_init().unwrap();
        context.set_rsa_padding(Padding::PKCS1).unwrap();
        context.set_signature_md(Md::sha256()).unwrap();
        let (message, signature) = token.rsplit_once('.').unwrap();
        let base64url = base64::engine::general_purpose::URL_SAFE_NO_PAD;
        Self {
            context: RefCell::new(context),
            message: message.into(),
            signature: base64url.decode(signature).unwrap(),
        }
    }

    pub fn verify(&self) -> bool {
        let digest = Sha256::digest(&self.message);
        let mut context = self.context.borrow_mut();
        context.verify(&digest, &self.signature).unwrap()
    }
}
