use crate::ClientIdentity;
use crate::adapters::verifying_signer::VerifyingSigner;
use keybound_keys::BindingKey as _;
use keybound_keys::SignatureScheme as Scheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{Error, OtherError, SignatureAlgorithm, SignatureScheme};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use std::sync::Arc;

/// Presents the certificate to each server that requests one.
#[derive(Debug)]
pub(super) struct ClientCertResolver(Arc<CertifiedKey>);

impl ClientCertResolver {
    pub(super) fn new(identity: &ClientIdentity) -> Self {
        let certificate = CertificateDer::from(identity.certificate().der().to_vec());
        let key = TlsSigningKey(Arc::new(VerifyingSigner::new(Arc::clone(identity.key()))));
        Self(Arc::new(CertifiedKey::new(
            vec![certificate],
            Arc::new(key),
        )))
    }
}

impl ResolvesClientCert for ClientCertResolver {
    /// Ignores the authorities that the server names: services name some and accept others.
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct TlsSigningKey(Arc<VerifyingSigner>);

impl SigningKey for TlsSigningKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let (name, scheme) = *SCHEMES.iter().find(|(name, _)| offered.contains(name))?;
        Some(Box::new(TlsSigner {
            key: Arc::clone(&self.0),
            name,
            scheme,
        }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(self.0.public_key_der().into())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::RSA
    }
}

#[derive(Debug)]
struct TlsSigner {
    key: Arc<VerifyingSigner>,
    name: SignatureScheme,
    scheme: Scheme,
}

impl Signer for TlsSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let digest = match self.scheme.digest_len() {
            32 => Sha256::digest(message).to_vec(),
            48 => Sha384::digest(message).to_vec(),
            _ => Sha512::digest(message).to_vec(),
        };
        self.key
            .sign(self.scheme, &digest)
            .map_err(|error| Error::Other(OtherError(Arc::new(error))))
    }

    fn scheme(&self) -> SignatureScheme {
        self.name
    }
}

/// In order of preference. Every binding key supports the first, as its certificate request was signed with it.
const SCHEMES: [(SignatureScheme, Scheme); 6] = [
    (SignatureScheme::RSA_PSS_SHA256, Scheme::PssSha256),
    (SignatureScheme::RSA_PSS_SHA384, Scheme::PssSha384),
    (SignatureScheme::RSA_PSS_SHA512, Scheme::PssSha512),
    (SignatureScheme::RSA_PKCS1_SHA256, Scheme::Pkcs1Sha256),
    (SignatureScheme::RSA_PKCS1_SHA384, Scheme::Pkcs1Sha384),
    (SignatureScheme::RSA_PKCS1_SHA512, Scheme::Pkcs1Sha512),
];

#[cfg(test)]
mod tests {
    use super::*;
    use keybound_keys::memory::MemoryKey;
    use keybound_keys::verify;

    fn key() -> TlsSigningKey {
        let key = MemoryKey::generate().unwrap();
        TlsSigningKey(Arc::new(VerifyingSigner::new(Arc::new(key))))
    }

    #[test]
    fn signs_with_every_scheme() {
        let key = key();
        for (name, scheme) in SCHEMES {
            let signer = key.choose_scheme(&[name]).unwrap();
            assert_eq!(signer.scheme(), name);
            let signature = signer.sign(b"a message").unwrap();
            let digest = match scheme.digest_len() {
                32 => Sha256::digest(b"a message").to_vec(),
                48 => Sha384::digest(b"a message").to_vec(),
                _ => Sha512::digest(b"a message").to_vec(),
            };
            let public = key.0.public_key_der();
            assert!(verify(public, scheme, &digest, &signature), "{scheme:?}");
        }
    }

    #[test]
    fn prefers_pss_among_the_schemes_that_the_server_offers() {
        use SignatureScheme as S;
        let key = key();
        let chosen = |offered: &[S]| key.choose_scheme(offered).map(|signer| signer.scheme());
        let all = [S::RSA_PKCS1_SHA256, S::RSA_PSS_SHA512, S::RSA_PSS_SHA256];
        assert_eq!(chosen(&all), Some(S::RSA_PSS_SHA256));
        assert_eq!(
            chosen(&[S::RSA_PKCS1_SHA1, S::RSA_PKCS1_SHA384]),
            Some(S::RSA_PKCS1_SHA384)
        );
        assert_eq!(chosen(&[S::ECDSA_NISTP256_SHA256, S::ED25519]), None);
    }

    #[test]
    fn key_never_exported_to_rustls() {
        let key = key();
        assert_eq!(key.algorithm(), SignatureAlgorithm::RSA);
        assert_eq!(key.public_key().unwrap().as_ref(), key.0.public_key_der());
        let shown = format!("{key:?}");
        assert!(shown.len() < 200 && shown.contains("memory:"), "{shown}");
    }
}
