use super::VerificationKey;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::sync::Arc;

/// The signing keys of an issuer, from its JSON Web Key set (RFC 7517 section 5). Cloning is cheap.
#[derive(Clone, Debug)]
pub struct KeySet(pub(super) HashMap<String, Arc<VerificationKey>>);

/// Why a key set is not usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeySetError {
    /// It is longer than 1 MiB.
    #[error("the key set is longer than 1 MiB")]
    TooLong,
    /// It is not a JSON Web Key set.
    #[error("the key set is not a JSON Web Key set")]
    Malformed,
    /// It has more than 1000 keys.
    #[error("the key set has more than 1000 keys")]
    TooManyKeys,
    /// Two keys have the same id.
    #[error("two keys of the key set have the same id")]
    DuplicateId,
    /// It has no RSA key of 2048 to 4096 bits for signatures.
    #[error("the key set has no RSA key of 2048 to 4096 bits for signatures")]
    NoKey,
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct JsonWebKey {
    kty: String,
    kid: Option<String>,
    r#use: Option<String>,
    alg: Option<String>,
    n: Option<String>,
    e: Option<String>,
    issuer: Option<String>,
}

impl KeySet {
    /// Parses a key set. Keys that cannot verify tokens are ignored: other types, other uses, RSA of less than 2048 or more than 4096
    /// bits, keys without an id. The certificates of keys (`x5c`) are ignored.
    ///
    /// # Errors
    /// If no usable key remains, or the set is ambiguous.
    pub fn parse(json: &[u8]) -> Result<Self, KeySetError> {
        if json.len() > MAX_DOCUMENT {
            return Err(KeySetError::TooLong);
        }
        let document: Document<'_> =
            serde_json::from_slice(json).map_err(|_| KeySetError::Malformed)?;
        Self::of_keys(&document.keys)
    }

    /// Parses the members of a key set.
    pub(super) fn of_keys(members: &[&RawValue]) -> Result<Self, KeySetError> {
        if members.len() > MAX_KEYS {
            return Err(KeySetError::TooManyKeys);
        }
        let mut keys = HashMap::new();
        for json in members {
            let key: JsonWebKey =
                serde_json::from_str(json.get()).map_err(|_| KeySetError::Malformed)?;
            let Some(key) = key.into_verification_key() else {
                continue;
            };
            if keys.insert(key.id().to_owned(), Arc::new(key)).is_some() {
                return Err(KeySetError::DuplicateId);
            }
        }
        if keys.is_empty() {
            return Err(KeySetError::NoKey);
        }
        Ok(Self(keys))
    }

    /// The ids of the usable keys, in any order.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The usable keys as a JSON Web Key set, in the order of their ids. The issuer of a key is in its member `issuer`, as in Entra's sets.
    pub fn to_json(&self) -> String {
        serde_json::json!({ "keys": self.to_jwks() }).to_string()
    }

    /// The id and the public key in PEM (`SubjectPublicKeyInfo`) of each usable key, in the order of the ids.
    pub fn to_pem(&self) -> Vec<(String, String)> {
        let pem = |key: &&Arc<VerificationKey>| Some((key.id().to_owned(), key.to_pem()?));
        self.sorted().iter().filter_map(pem).collect()
    }

    pub(super) fn to_jwks(&self) -> Vec<Value> {
        let keys = self.sorted();
        keys.iter().map(|key| key.to_jwk()).collect()
    }

    fn sorted(&self) -> Vec<&Arc<VerificationKey>> {
        let mut keys: Vec<_> = self.0.values().collect();
        keys.sort_by_key(|key| key.id());
        keys
    }
}

impl JsonWebKey {
    fn into_verification_key(self) -> Option<VerificationKey> {
        let signs = self.kty == "RSA"
            && self.r#use.is_none_or(|purpose| purpose == "sig")
            && self.alg.is_none_or(|algorithm| algorithm == "RS256");
        if !signs {
            return None;
        }
        let number = |text: Option<String>| URL_SAFE_NO_PAD.decode(text?).ok();
        VerificationKey::new(self.kid?, self.issuer, number(self.n)?, number(self.e)?)
    }
}

/// In bytes.
pub(super) const MAX_DOCUMENT: usize = 1024 * 1024;
const MAX_KEYS: usize = 1000;
