//! The evidence for the attestation of a simulated key: a JWS as in DPoP (RFC 9449), signed with the key over its public key,
//! the audience, the time and a nonce. It only proves possession of a key in memory; hence "simulated" in all names.
use crate::clock::{host_now, unix};
use crate::signing_key::{jwk, signing_input, verifies_ps256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keybound_core::{UnverifiedJwt, lock};
use keybound_keys::{BindingKey, KeyError, KeyErrorKind, SignatureScheme};
use openssl::bn::BigNum;
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Public};
use openssl::rsa::Rsa;
use openssl::sha::sha256;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Mutex;

/// Creates the evidence of a key for an attestation service, named by its origin.
///
/// # Errors
/// If the key does not sign.
pub(crate) fn create(key: &dyn BindingKey, audience: &str) -> Result<String, KeyError> {
    let unreadable = |error: ErrorStack| {
        KeyError::new(KeyErrorKind::Failed, "the public key is not RSA").with_source(error)
    };
    let rsa = PKey::public_key_from_der(key.public_key_der())
        .and_then(|key| key.rsa())
        .map_err(unreadable)?;
    let header = json!({"typ": TYPE, "alg": "PS256", "jwk": jwk(&rsa)});
    let claims = json!({
        "aud": audience,
        "iat": unix(host_now()),
        "jti": uuid::Uuid::new_v4().to_string(),
    });
    let signed = signing_input(&header, &claims);
    let signature = key.sign(SignatureScheme::PssSha256, &sha256(signed.as_bytes()))?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// Checks evidence: form, proof of possession, audience, freshness, and that it is not replayed. Returns the public key as a
/// JWK.
///
/// The time is the host's: clients do not know the offset of the emulated clock.
///
/// # Errors
/// The problem.
pub(crate) fn check(
    text: &str,
    audience: &str,
    used_nonces: &UsedNonces,
) -> Result<Value, &'static str> {
    let evidence = read(text)?;
    if !is_signed_by(text, &evidence.key) {
        return Err("the evidence is not signed by the key in it");
    }
    if evidence.audience != audience {
        return Err("the evidence is for another attestation service");
    }
    if evidence.issued_at.abs_diff(unix(host_now())) > MAX_TIME_DIFFERENCE {
        return Err("the evidence is not fresh");
    }
    if !used_nonces.insert(&evidence.id) {
        return Err("the evidence was used before");
    }
    Ok(jwk(&evidence.key))
}

/// Parsed evidence; the signature is not verified.
#[derive(Debug)]
pub(crate) struct Evidence {
    key: Rsa<Public>,
    audience: String,
    issued_at: u64,
    id: String,
}

/// Parses evidence.
///
/// # Errors
/// The problem.
pub(crate) fn read(text: &str) -> Result<Evidence, &'static str> {
    if text.len() > MAX_EVIDENCE_BYTES {
        return Err("the evidence is longer than 16 KiB");
    }
    let jws = UnverifiedJwt::parse(text).ok_or("the evidence is not a compact JWS")?;
    let named = |name: &str, value: &str| jws.header.get(name).is_some_and(|found| found == value);
    if !named("typ", TYPE) || !named("alg", "PS256") {
        return Err("the evidence is not of a simulated key");
    }
    let key = jws.header.get("jwk").and_then(public_key);
    let issued_at = jws.claims.get("iat").and_then(Value::as_u64);
    match (key, jws.text("aud"), issued_at, jws.text("jti")) {
        (Some(key), Some(audience), Some(issued_at), Some(id)) if id.len() <= MAX_ID_BYTES => {
            Ok(Evidence {
                key,
                audience: audience.to_owned(),
                issued_at,
                id: id.to_owned(),
            })
        }
        (None, ..) => Err("the evidence does not contain an RSA key of 2048 bits"),
        _ => Err("the evidence lacks aud, iat or jti"),
    }
}

/// The nonces of evidence that was used, against replay.
#[derive(Debug, Default)]
pub(crate) struct UsedNonces(Mutex<VecDeque<String>>);

impl UsedNonces {
    /// Whether the nonce is new.
    fn insert(&self, id: &str) -> bool {
        let mut used = lock(&self.0);
        if used.iter().any(|nonce| nonce == id) {
            return false;
        }
        if used.len() == MAX_NONCES {
            used.pop_front();
        }
        used.push_back(id.to_owned());
        true
    }
}

fn public_key(jwk: &Value) -> Option<Rsa<Public>> {
    let number = |name: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(jwk.get(name)?.as_str()?).ok()?;
        BigNum::from_slice(&bytes).ok()
    };
    let (n, e) = (number("n")?, number("e")?);
    let usable = jwk.get("kty")? == "RSA" && n.num_bits() == 2048 && e.num_bits() <= 32;
    if !usable || !e.is_bit_set(0) {
        return None;
    }
    Rsa::from_public_components(n, e).ok()
}

fn is_signed_by(text: &str, key: &Rsa<Public>) -> bool {
    let verified = || {
        let (signed, signature) = text.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let key = PKey::from_rsa(key.clone()).ok()?;
        Some(verifies_ps256(&key, signed.as_bytes(), &signature))
    };
    verified().unwrap_or(false)
}

const TYPE: &str = "keybound-simulated-evidence+jwt";
const MAX_EVIDENCE_BYTES: usize = 16 * 1024;
const MAX_ID_BYTES: usize = 128;
/// Five minutes, in seconds.
const MAX_TIME_DIFFERENCE: u64 = 300;
const MAX_NONCES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_a_nonce_once_and_limits_their_number() {
        let nonces = UsedNonces::default();
        assert!(nonces.insert("0") && !nonces.insert("0"));
        for number in 1..=MAX_NONCES {
            assert!(nonces.insert(&number.to_string()));
        }
        assert!(nonces.insert("0"), "the oldest nonce is evicted");
        assert!(!nonces.insert(&MAX_NONCES.to_string()));
    }
}
