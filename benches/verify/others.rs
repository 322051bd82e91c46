//! What verification is compared with.
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use keybound_core::X5tS256;
use keybound_resource::{Caller, ClientCertificate, Clock as _, SystemClock};
use keybound_testing::RING;
use keybound_testing::attacks::{RESOURCE, TENANT, TestIssuer};
use openssl::md::Md;
use openssl::pkey::{PKey, Public};
use openssl::pkey_ctx::PkeyCtx;
use openssl::rsa::Padding;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::cell::RefCell;
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// The signature of a token by OpenSSL with a kept context, and nothing else.
pub struct BareSignature {
    context: RefCell<PkeyCtx<Public>>,
    message: Vec<u8>,
    signature: Vec<u8>,
}

impl BareSignature {
    pub fn new(issuer: &TestIssuer, header: &str) -> Self {
        use base64::Engine as _;
        let der = issuer.key("any").public_key_to_der().unwrap();
        let key = PKey::public_key_from_der(&der).unwrap();
        let mut context = PkeyCtx::new(&key).unwrap();
        context.verify_init().unwrap();
        context.set_rsa_padding(Padding::PKCS1).unwrap();
        context.set_signature_md(Md::sha256()).unwrap();
        let (_, token) = header.split_once(' ').unwrap();
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

/// jsonwebtoken with ring: signature, audience, issuer and dates, without a binding.
pub struct Jsonwebtoken {
    key: DecodingKey,
    validation: Validation,
}

impl Jsonwebtoken {
    pub fn new(issuer: &TestIssuer) -> Self {
        RING.install_default().unwrap();
        let rsa = issuer.key("any").rsa().unwrap();
        let mut validation = Validation::new(Algorithm::RS256);
        validation.validate_nbf = true;
        validation.set_audience(&[RESOURCE]);
        validation.set_issuer(&[format!("https://login.microsoftonline.com/{TENANT}/v2.0")]);
        Self {
            key: DecodingKey::from_rsa_der(&rsa.public_key_to_der_pkcs1().unwrap()),
            validation,
        }
    }

    pub fn verify(&self, token: &str) {
        let decoded = jsonwebtoken::decode::<Value>(token, &self.key, &self.validation);
        black_box(decoded.unwrap());
    }
}

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
