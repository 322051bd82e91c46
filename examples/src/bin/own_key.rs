//! A custom binding key, such as one in a smart card, a signing service or an enclave.
//!
//! This one is a fake that counts its signatures. It is a software key: the request lowers the minimum key strength, and the key
//! cannot be attested. The emulator issues a certificate for it; as of 2026, a real IMDS does so for attested KeyGuard keys only.
//!
//! `cargo run --package keybound-examples --bin own_key`
#![expect(clippy::print_stdout, reason = "an example prints its results")]
use keybound::keys::{
    BindingKey, KeyError, KeyErrorKind, KeyProvider, ProviderChain, SignatureScheme,
};
use keybound::{KeyRequirements, KeyStrength};
use keybound_emulator::{AttestationRule, Config, Emulator};
use keybound_examples::Platform;
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::pkey_ctx::PkeyCtx;
use openssl::rsa::{Padding, Rsa};
use openssl::sign::RsaPssSaltlen;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut config = Config::default();
    config.imds.attestation = AttestationRule::Optional;
    let platform = Platform::Emulator(Emulator::start(config)?);

    let card = Arc::new(Card::new()?);
    let reader = Reader(Arc::clone(&card));
    let client = platform
        .client()?
        .key_providers(ProviderChain::new(vec![Arc::new(reader)]))
        .build()?;
    let token = client
        .pop_token(
            "https://vault.azure.net",
            KeyRequirements::unattested().min_strength(KeyStrength::Software),
        )
        .await?;
    println!("token of type {}", token.token_type());
    println!(
        "the card signed {} times",
        card.signatures.load(Ordering::Relaxed)
    );
    Ok(())
}

/// The provider of the card's key.
#[derive(Debug)]
struct Reader(Arc<Card>);

impl KeyProvider for Reader {
    fn strength(&self) -> KeyStrength {
        KeyStrength::Software
    }

    fn open(&self) -> Result<Arc<dyn BindingKey>, KeyError> {
        Ok(self.0.clone())
    }
}

/// A card with a private key, which only signs.
struct Card {
    key: PKey<Private>,
    public_key: Vec<u8>,
    signatures: AtomicUsize,
}

impl Card {
    fn new() -> Result<Self, ErrorStack> {
        let key = PKey::from_rsa(Rsa::generate(2048)?)?;
        Ok(Self {
            public_key: key.public_key_to_der()?,
            key,
            signatures: AtomicUsize::new(0),
        })
    }

    fn sign_digest(&self, scheme: SignatureScheme, digest: &[u8]) -> Result<Vec<u8>, ErrorStack> {
        let mut context = PkeyCtx::new(&self.key)?;
        context.sign_init()?;
        let hash = match scheme.digest_len() {
            32 => openssl::md::Md::sha256(),
            48 => openssl::md::Md::sha384(),
            _ => openssl::md::Md::sha512(),
        };
        context.set_rsa_padding(if scheme.is_pss() {
            Padding::PKCS1_PSS
        } else {
            Padding::PKCS1
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

impl BindingKey for Card {
    fn public_key_der(&self) -> &[u8] {
        &self.public_key
    }

    fn sign(&self, scheme: SignatureScheme, digest: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.signatures.fetch_add(1, Ordering::Relaxed);
        self.sign_digest(scheme, digest).map_err(|error| {
            KeyError::new(KeyErrorKind::Failed, "the card could not sign").with_source(error)
        })
    }

    fn strength(&self) -> KeyStrength {
        KeyStrength::Software
    }

    fn id(&self) -> &str {
        "card:1"
    }
}

impl fmt::Debug for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Card")
    }
}
