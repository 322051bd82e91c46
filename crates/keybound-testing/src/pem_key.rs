//! A key that several processes share.
use keybound_keys::{
    BindingKey, KeyError, KeyErrorKind, KeyStrength, SignatureScheme, SigningCost,
};
use openssl::error::ErrorStack;
use openssl::md::Md;
use openssl::pkey::{PKey, Private};
use openssl::pkey_ctx::PkeyCtx;
use openssl::rsa::{Padding, Rsa};
use openssl::sign::RsaPssSaltlen;

/// An RSA key that is read from PEM.
#[derive(Debug)]
pub struct PemKey {
    key: PKey<Private>,
    public_key: Vec<u8>,
}

impl PemKey {
    /// Returns a new key in PEM.
    pub fn generate_pem() -> Vec<u8> {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        key.private_key_to_pem_pkcs8().unwrap()
    }

    /// The key in this PEM.
    pub fn from_pem(pem: &[u8]) -> Self {
        let key = PKey::private_key_from_pem(pem).unwrap();
        let public_key = key.public_key_to_der().unwrap();
        Self { key, public_key }
    }

    fn signature(&self, scheme: SignatureScheme, digest: &[u8]) -> Result<Vec<u8>, ErrorStack> {
        let hash = match scheme.digest_len() {
            32 => Md::sha256(),
            48 => Md::sha384(),
            _ => Md::sha512(),
        };
        let mut context = PkeyCtx::new(&self.key)?;
        context.sign_init()?;
        context.set_rsa_padding(match scheme.is_pss() {
            true => Padding::PKCS1_PSS,
            false => Padding::PKCS1,
        })?;
        context.set_signature_md(hash)?;
        if scheme.is_pss() {
            context.set_rsa_mgf1_md(hash)?;
            context.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
        }
        let mut signature = Vec::new();
        context.sign_to_vec(digest, &mut signature)?;
        Ok(signature)
    }
}

impl BindingKey for PemKey {
    fn public_key_der(&self) -> &[u8] {
        &self.public_key
    }

    fn sign(&self, scheme: SignatureScheme, digest: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.signature(scheme, digest).map_err(|error| {
            KeyError::new(KeyErrorKind::Failed, "signing failed").with_source(error)
        })
    }

    fn strength(&self) -> KeyStrength {
        KeyStrength::Software
    }

    fn id(&self) -> &'static str {
        "pem"
    }

    fn signing_cost(&self) -> SigningCost {
        SigningCost::Quick
    }
}
