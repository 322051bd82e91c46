use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use keybound_testing::attacks::{RESOURCE, TENANT, TestIssuer};
use serde_json::Value;
use std::hint::black_box;

/// The crate jsonwebtoken with the provider of the process: signature, audience, issuer and dates, without a binding.
pub struct JsonWebToken {
    key: DecodingKey,
    validation: Validation,
}

impl JsonWebToken {
    pub fn new(issuer: &TestIssuer) -> Self {
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
