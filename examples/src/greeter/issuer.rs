use super::RESOURCE;
use crate::Platform;
use keybound::{Guid, UnverifiedJwt, X5tS256};
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Public};
use openssl::rsa::Rsa;
use openssl::sign::Verifier;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The issuer of the tokens: Entra's name and public keys.
#[derive(Debug)]
pub(super) struct Issuer {
    name: String,
    /// By key id.
    keys: HashMap<String, PKey<Public>>,
}

impl Issuer {
    /// Fetches the discovery document and the key set. A real service refreshes the latter when keys change.
    pub(super) async fn discover(
        platform: &Platform,
        tenant: &Guid,
    ) -> Result<Self, Box<dyn Error>> {
        let Platform::Emulator(emulator) = platform else {
            return Err("the greeter accepts tokens of the emulator only".into());
        };
        let http = http_client(emulator.ca_pem())?;
        let get = async |url: &str| -> Result<Value, Box<dyn Error>> {
            let body = http.get(url).send().await?.error_for_status()?;
            Ok(serde_json::from_slice(&body.bytes().await?)?)
        };
        let base = emulator.ready().sts.trim_end_matches('/');
        let document = get(&format!(
            "{base}/{tenant}/v2.0/.well-known/openid-configuration"
        ))
        .await?;
        let text = |name: &str| document[name].as_str().ok_or("an incomplete document");
        let set = get(text("jwks_uri")?).await?;
        let mut keys = HashMap::new();
        for jwk in set["keys"].as_array().ok_or("no keys")? {
            let id = jwk["kid"].as_str().ok_or("a key without id")?;
            keys.insert(id.to_owned(), rsa_key(jwk)?);
        }
        Ok(Self {
            name: text("issuer")?.to_owned(),
            keys,
        })
    }

    /// Validates a token, whose connection presented this certificate. Returns the client's id.
    pub(super) fn check(
        &self,
        authorization: Option<&str>,
        certificate: &X5tS256,
    ) -> Result<String, &'static str> {
        let (scheme, token) = authorization
            .and_then(|value| value.split_once(' '))
            .ok_or("the request has no token")?;
        // Not `Bearer`: anyone can use a stolen bearer token.
        if !scheme.eq_ignore_ascii_case("mtls_pop") {
            return Err("the token must be bound");
        }
        let jwt = UnverifiedJwt::parse(token).ok_or("the token is malformed")?;
        if !self.verify(&jwt, token) {
            return Err("the token's signature is invalid");
        }
        if jwt.text("iss") != Some(&self.name) || jwt.text("aud") != Some(RESOURCE) {
            return Err("the token is from another issuer or for another service");
        }
        if !is_current(&jwt) {
            return Err("the token has expired or is not yet valid");
        }
        let bound_to = jwt.confirmation().ok_or("the token is not bound")?;
        if !certificate.matches(bound_to) {
            return Err("the token is bound to another certificate than this connection's");
        }
        let client = jwt.text("appid").ok_or("the token names no client")?;
        Ok(client.to_owned())
    }

    fn verify(&self, jwt: &UnverifiedJwt, token: &str) -> bool {
        let header = |name: &str| jwt.header.get(name).and_then(Value::as_str);
        let key = header("kid").and_then(|id| self.keys.get(id));
        let (Some(key), Some("RS256"), Some((signed, signature))) =
            (key, header("alg"), token.rsplit_once('.'))
        else {
            return false;
        };
        let verified = || -> Result<bool, Box<dyn Error>> {
            let signature = base64url(signature)?;
            let mut verifier = Verifier::new(MessageDigest::sha256(), key)?;
            Ok(verifier.verify_oneshot(&signature, signed.as_bytes())?)
        };
        verified().unwrap_or(false)
    }
}

/// Whether the token is valid now, by `nbf` and `exp` with a tolerance for clock skew.
fn is_current(jwt: &UnverifiedJwt) -> bool {
    #[expect(clippy::disallowed_methods, reason = "a service uses the wall clock")]
    let now = SystemTime::now();
    let time = |name: &str| {
        let seconds = jwt.claims.get(name)?.as_u64()?;
        UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    };
    time("nbf").is_some_and(|not_before| not_before <= now + SKEW)
        && time("exp").is_some_and(|expires| now < expires + SKEW)
}

fn rsa_key(jwk: &Value) -> Result<PKey<Public>, Box<dyn Error>> {
    let number = |name: &str| -> Result<BigNum, Box<dyn Error>> {
        let text = jwk[name].as_str().ok_or("an incomplete key")?;
        Ok(BigNum::from_slice(&base64url(text)?)?)
    };
    let key = Rsa::from_public_components(number("n")?, number("e")?)?;
    Ok(PKey::from_rsa(key)?)
}

fn base64url(text: &str) -> Result<Vec<u8>, base64::DecodeError> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text)
}

/// An ordinary HTTPS client that trusts one authority.
fn http_client(ca_pem: &[u8]) -> Result<reqwest::Client, Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem) {
        roots.add(certificate?)?;
    }
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .https_only(true)
        .build()?)
}

const SKEW: Duration = Duration::from_secs(300);
