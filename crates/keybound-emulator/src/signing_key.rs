use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{HasPublic, PKey, PKeyRef, Private, Public};
use openssl::rsa::{Padding, Rsa, RsaRef};
use openssl::sha::sha256;
use openssl::sign::{RsaPssSaltlen, Signer, Verifier};
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// An RSA-2048 key that signs JWTs (RS256), generated outside of the event loop at its first use.
#[derive(Clone, Default)]
pub(crate) struct SigningKey(Arc<OnceCell<JwtSigner>>);

impl SigningKey {
    /// The key if it has been generated.
    pub fn generated(&self) -> Option<&JwtSigner> {
        self.0.get()
    }

    /// The key; waits until it has been generated.
    ///
    /// # Errors
    /// If OpenSSL cannot generate it.
    pub async fn get(&self) -> io::Result<&JwtSigner> {
        self.0
            .get_or_try_init(|| async {
                tokio::task::spawn_blocking(JwtSigner::generate)
                    .await
                    .map_err(io::Error::other)?
                    .map_err(io::Error::other)
            })
            .await
    }
}

/// A key that is ready to sign.
pub(crate) struct JwtSigner {
    key: PKey<Private>,
    public_key: Vec<u8>,
    jwk: Value,
}

impl JwtSigner {
    fn generate() -> Result<Self, ErrorStack> {
        let rsa = Rsa::generate(2048)?;
        Ok(Self {
            public_key: rsa.public_key_to_der()?,
            jwk: jwk(&rsa),
            key: PKey::from_rsa(rsa)?,
        })
    }

    /// The JWK set with this key only (RFC 7517).
    pub fn jwks(&self) -> Value {
        let mut jwk = self.jwk.clone();
        jwk["use"] = json!("sig");
        jwk["alg"] = json!("RS256");
        json!({"keys": [jwk]})
    }

    /// The key id, `kid`.
    pub fn id(&self) -> &str {
        self.jwk["kid"].as_str().unwrap_or_default()
    }

    /// The public key as a JWK.
    pub fn public_jwk(&self) -> &Value {
        &self.jwk
    }

    /// SubjectPublicKeyInfo, DER.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// The compact form of a JWT with these claims, RS256.
    ///
    /// # Errors
    /// If OpenSSL cannot sign.
    pub fn sign(&self, claims: &Value) -> io::Result<String> {
        let header = json!({"typ": "JWT", "alg": "RS256", "kid": self.jwk["kid"]});
        let signed = signing_input(&header, claims);
        let mut signer = Signer::new(MessageDigest::sha256(), &self.key)?;
        let signature = signer.sign_oneshot_to_vec(signed.as_bytes())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// Whether a compact JWT names RS256 and has a valid signature of this key. Claims are not checked.
    pub fn verifies(&self, token: &str) -> bool {
        let Some((signed, signature)) = token.rsplit_once('.') else {
            return false;
        };
        let algorithm = keybound_core::UnverifiedJwt::parse(token)
            .and_then(|jwt| jwt.header.get("alg")?.as_str().map(str::to_owned));
        if algorithm.as_deref() != Some("RS256") {
            return false;
        }
        let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else {
            return false;
        };
        let verified = Verifier::new(MessageDigest::sha256(), &self.key)
            .and_then(|mut verifier| verifier.verify_oneshot(&signature, signed.as_bytes()));
        is_valid(verified)
    }
}

/// The part of a compact JWS that is signed (RFC 7515 section 5.1).
pub(crate) fn signing_input(header: &Value, claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", encode(header), encode(claims))
}

/// The JWK of an RSA key, with its thumbprint as `kid`.
pub(crate) fn jwk<T: HasPublic>(key: &RsaRef<T>) -> Value {
    let n = URL_SAFE_NO_PAD.encode(key.n().to_vec());
    let e = URL_SAFE_NO_PAD.encode(key.e().to_vec());
    json!({"kty": "RSA", "kid": jwk_thumbprint(&n, &e), "n": n, "e": e})
}

/// Whether a signature with RSASSA-PSS, SHA-256 and a salt of 32 bytes (PS256) is valid.
pub(crate) fn verifies_ps256(key: &PKeyRef<Public>, signed: &[u8], signature: &[u8]) -> bool {
    let verify = || -> Result<bool, ErrorStack> {
        let mut verifier = Verifier::new(MessageDigest::sha256(), key)?;
        verifier.set_rsa_padding(Padding::PKCS1_PSS)?;
        verifier.set_rsa_mgf1_md(MessageDigest::sha256())?;
        verifier.set_rsa_pss_saltlen(RsaPssSaltlen::custom(32))?;
        verifier.verify_oneshot(signature, signed)
    };
    is_valid(verify())
}

fn is_valid(verified: Result<bool, ErrorStack>) -> bool {
    // An invalid signature leaves an error in OpenSSL's queue, which the next call would return.
    let _ = ErrorStack::get();
    verified.unwrap_or(false)
}

/// The thumbprint of an RSA key from its base64url members (RFC 7638 section 3).
pub(crate) fn jwk_thumbprint(n: &str, e: &str) -> String {
    let canonical = format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#);
    URL_SAFE_NO_PAD.encode(sha256(canonical.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn verifies_its_own_jwts_only() {
        let (key, other) = (SigningKey::default(), SigningKey::default());
        let (key, other) = (key.get().await.unwrap(), other.get().await.unwrap());
        let token = key.sign(&json!({"a": 1})).unwrap();
        assert!(key.verifies(&token));
        assert!(!other.verifies(&token));
        let changed = token.replacen('.', ".A", 1);
        assert!(!key.verifies(&changed));
        let (_, signature) = token.rsplit_once('.').unwrap();
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        assert!(!key.verifies(&format!("{none}.e30.{signature}")));
        assert!(!key.verifies("") && !key.verifies("a.b.c"));
    }

    /// The example of RFC 7638 section 3.1.
    #[test]
    fn matches_the_thumbprint_of_rfc_7638() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        assert_eq!(
            jwk_thumbprint(n, "AQAB"),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
    }
}
