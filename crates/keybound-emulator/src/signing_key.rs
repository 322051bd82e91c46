use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::sha::sha256;
use openssl::sign::{Signer, Verifier};
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// An RSA-2048 key that signs JWTs (RS256), created outside of the event loop at its first use.
#[derive(Clone, Default)]
pub(crate) struct SigningKey(Arc<OnceCell<JwtSigner>>);

impl SigningKey {
    /// The key; waits until it is made.
    ///
    /// # Errors
    /// Where OpenSSL cannot make one.
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
    key_id: String,
}

impl JwtSigner {
    fn generate() -> Result<Self, ErrorStack> {
        let rsa = Rsa::generate(2048)?;
        let public_key = rsa.public_key_to_der()?;
        let (n, e) = (
            URL_SAFE_NO_PAD.encode(rsa.n().to_vec()),
            URL_SAFE_NO_PAD.encode(rsa.e().to_vec()),
        );
        let key_id = jwk_thumbprint(&n, &e);
        let jwk =
            json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": key_id, "n": n, "e": e});
        Ok(Self {
            key: PKey::from_rsa(rsa)?,
            public_key,
            jwk,
            key_id,
        })
    }

    /// The JWK set with this key only (RFC 7517).
    pub fn jwks(&self) -> Value {
        json!({"keys": [self.jwk]})
    }

    /// The public key as a JWK.
    pub fn public_jwk(&self) -> Value {
        let mut jwk = self.jwk.clone();
        if let Some(members) = jwk.as_object_mut() {
            members.retain(|name, _| ["kty", "kid", "n", "e"].contains(&name.as_str()));
        }
        jwk
    }

    /// SubjectPublicKeyInfo, DER.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// The compact form of a JWT with these claims, RS256.
    ///
    /// # Errors
    /// Where OpenSSL cannot sign.
    pub fn sign(&self, claims: &Value) -> io::Result<String> {
        let header = json!({"typ": "JWT", "alg": "RS256", "kid": self.key_id});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(claims));
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
        let held = Verifier::new(MessageDigest::sha256(), &self.key)
            .and_then(|mut verifier| verifier.verify_oneshot(&signature, signed.as_bytes()));
        // An invalid signature leaves an error in OpenSSL's queue, which the next call would return.
        let _ = ErrorStack::get();
        held.unwrap_or(false)
    }
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
    async fn a_signed_jwt_verifies_and_a_changed_or_foreign_one_does_not() {
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
    fn thumbprint_of_the_rfc() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        assert_eq!(
            jwk_thumbprint(n, "AQAB"),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
    }
}
