//! No change of a token or a certificate passes, and whatever passes is accepted by another implementation too.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use keybound_resource::{ClientCertificate, Verifier};
use keybound_testing::RING;
use keybound_testing::attacks::{
    KEY_IDS, PolicyOfCase, RESOURCE, TENANT, TokenRecipe, cases, fixed_now,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Once;
use std::time::UNIX_EPOCH;
use support::{TestClock, builder, issuer};

#[test]
fn no_single_bit_change_of_the_token_passes() {
    let resource = Resource::new();
    let token = TokenRecipe::default().make(issuer());
    assert!(resource.accepts(token.as_bytes()));
    for bit in 0..token.len() * 8 {
        let mut changed = token.clone().into_bytes();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(!resource.accepts(&changed), "bit {bit}");
    }
}

#[test]
fn no_single_bit_change_of_the_certificate_passes() {
    let resource = Resource::new();
    let token = TokenRecipe::default().make(issuer());
    let der = issuer().certificates.der("client").unwrap();
    let mut parsed = 0;
    for bit in 0..der.len() * 8 {
        let mut changed = der.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        if let Ok(certificate) = ClientCertificate::from_der(&changed) {
            parsed += 1;
            let header = format!("mtls_pop {token}");
            let verified = resource.verifier.verify(header.as_str(), &certificate);
            assert!(verified.is_err(), "bit {bit}");
        }
    }
    assert!(parsed > 1000, "{parsed}");
}

/// With `KEYBOUND_LONG_TESTS=1`, a million of them.
#[test]
fn mutated_tokens_pass_only_if_another_implementation_accepts_them() {
    let is_long = std::env::var_os("KEYBOUND_LONG_TESTS").is_some_and(|value| value == "1");
    compare_mutations(if is_long { 1_000_000 } else { 20_000 });
}

/// The cases of the attack table, whose policy the other implementation has.
#[test]
fn attack_table_passes_only_if_another_implementation_accepts_it() {
    let other = OtherImplementation::new();
    let clock = TestClock::new();
    let mut accepted = 0;
    for case in cases() {
        let token = case.token.make(issuer());
        let verifier = builder(&PolicyOfCase::default(), &clock).build().unwrap();
        let bound_to = issuer().certificates.der(&case.token.bound_to);
        let Some(certificate) = bound_to.and_then(|der| ClientCertificate::from_der(&der).ok())
        else {
            continue;
        };
        let header = format!("mtls_pop {token}");
        if verifier.verify(header.as_str(), &certificate).is_ok() {
            accepted += 1;
            let claims = other.claims(&token).expect(&case.name);
            assert_eq!(claims["cnf"]["x5t#S256"], certificate.thumbprint().as_str());
        }
    }
    assert!(accepted > 50, "{accepted}");
}

fn compare_mutations(count: u32) {
    let resource = Resource::new();
    let other = OtherImplementation::new();
    let seeds: Vec<Vec<u8>> = cases()
        .iter()
        .map(|case| case.token.make(issuer()).into_bytes())
        .filter(|token| token.len() < 4096)
        .collect();
    let valid = TokenRecipe::default().make(issuer()).into_bytes();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut passed = 0;
    for number in 0..count {
        let seed = match number % 2 {
            0 => &valid,
            _ => &seeds[random.below(seeds.len())],
        };
        let token = mutated(seed, &seeds, &mut random);
        if !resource.accepts(&token) {
            continue;
        }
        passed += 1;
        let token = std::str::from_utf8(&token).unwrap();
        let claims = other.claims(token).unwrap();
        assert_eq!(
            claims["cnf"]["x5t#S256"],
            resource.certificate.thumbprint().as_str()
        );
    }
    // Some mutations change nothing.
    assert!(passed > count / 100, "{passed}");
}

/// One or more changes, or none.
fn mutated(token: &[u8], others: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    const ALPHABET: &[u8] =
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ ";
    let mut token = token.to_vec();
    for _ in 0..random.below(3) {
        let at = random.below(token.len().max(1));
        if token.is_empty() {
            break;
        }
        match random.below(6) {
            0 => token[at] ^= 1 << random.below(8),
            1 => token[at] = ALPHABET[random.below(ALPHABET.len())],
            2 => {
                token.remove(at);
            }
            3 => token.insert(at, ALPHABET[random.below(ALPHABET.len())]),
            4 => token.truncate(at),
            // A part of another token.
            _ => {
                let other = &others[random.below(others.len())];
                let part = random.below(3);
                let replaced: Vec<&[u8]> = token
                    .split(|byte| *byte == b'.')
                    .enumerate()
                    .map(
                        |(index, own)| match other.split(|byte| *byte == b'.').nth(index) {
                            Some(other) if index == part => other,
                            _ => own,
                        },
                    )
                    .collect();
                token = replaced.join(&b'.');
            }
        }
    }
    token
}

struct Resource {
    verifier: Verifier,
    certificate: ClientCertificate,
}

impl Resource {
    fn new() -> Self {
        let der = issuer().certificates.der("client").unwrap();
        Self {
            verifier: builder(&PolicyOfCase::default(), &TestClock::new())
                .build()
                .unwrap(),
            certificate: ClientCertificate::from_der(&der).unwrap(),
        }
    }

    fn accepts(&self, token: &[u8]) -> bool {
        let header = [b"mtls_pop ", token].concat();
        self.verifier.verify(&header[..], &self.certificate).is_ok()
    }
}

/// The crate jsonwebtoken, with the signatures of ring.
struct OtherImplementation {
    keys: BTreeMap<&'static str, DecodingKey>,
    validation: Validation,
}

impl OtherImplementation {
    fn new() -> Self {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| RING.install_default().unwrap());
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_audience(&[RESOURCE]);
        validation.set_issuer(&[
            format!("https://sts.windows.net/{TENANT}/"),
            format!("https://login.microsoftonline.com/{TENANT}/v2.0"),
        ]);
        // It has no fake clock: dates are compared below.
        validation.validate_exp = false;
        let key = |id: &&'static str| {
            let der = issuer().key(id).rsa().unwrap().public_key_to_der_pkcs1();
            (*id, DecodingKey::from_rsa_der(&der.unwrap()))
        };
        Self {
            keys: KEY_IDS.iter().map(key).collect(),
            validation,
        }
    }

    fn claims(&self, token: &str) -> Result<Value, String> {
        let header = jsonwebtoken::decode_header(token).map_err(|error| error.to_string())?;
        let kid = header.kid.unwrap_or_default();
        let key = self.keys.get(&*kid).ok_or("unknown key")?;
        let decoded = jsonwebtoken::decode::<Value>(token, key, &self.validation);
        let claims = decoded.map_err(|error| error.to_string())?.claims;
        let now = fixed_now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();
        let expires = claims["exp"].as_f64().ok_or("no expiry")?;
        let starts = claims["nbf"].as_f64().unwrap_or(0.0);
        if now >= expires + 300.0 || now < starts - 300.0 {
            return Err("not valid now".to_owned());
        }
        Ok(claims)
    }
}

/// Reproducible numbers (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}
