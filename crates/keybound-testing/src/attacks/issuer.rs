use super::ClientCertificates;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// The tenant of the tokens.
pub const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
/// Another tenant.
pub const OTHER_TENANT: &str = "11111111-86f1-41af-91ab-2d7cd011db47";
/// The client of the tokens.
pub const CLIENT: &str = "c0ffee00-1234-4321-8888-0123456789ab";
/// The audience of the tokens.
pub const RESOURCE: &str = "api://orders.contoso.com";
/// The ids of the keys in the key set. `any` has no issuer, `v2` the issuer of version 2 of every tenant, `foreign` that of another
/// tenant.
pub const KEY_IDS: [&str; 4] = ["any", "second", "v2", "foreign"];

/// An authorization server with its keys, and the certificates of its clients.
#[derive(Clone)]
pub struct TestIssuer {
    now: SystemTime,
    keys: Vec<PKey<Private>>,
    unknown: PKey<Private>,
    /// The clients' certificates.
    pub certificates: ClientCertificates,
}

impl TestIssuer {
    /// An issuer whose tokens and certificates are valid at a time.
    pub fn new(now: SystemTime) -> Self {
        let key = || PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        Self {
            now,
            keys: KEY_IDS.iter().map(|_| key()).collect(),
            unknown: key(),
            certificates: ClientCertificates::new(now),
        }
    }

    /// The time, in seconds since the Unix epoch.
    pub fn now(&self) -> i64 {
        let now = self.now.duration_since(UNIX_EPOCH).unwrap();
        i64::try_from(now.as_secs()).unwrap()
    }

    /// A key by its id; any other id is that of a key which is not in the key set.
    pub fn key(&self, id: &str) -> &PKey<Private> {
        let position = KEY_IDS.iter().position(|known| *known == id);
        position.map_or(&self.unknown, |position| &self.keys[position])
    }

    /// The key set, with keys that a verifier must ignore.
    pub fn key_set(&self) -> Value {
        let mut keys: Vec<Value> = KEY_IDS
            .iter()
            .zip(&self.keys)
            .map(|(id, key)| jwk(id, key, issuer_of_key(id)))
            .collect();
        keys.push(json!({ "kty": "EC", "kid": "ec", "crv": "P-256", "x": "AA", "y": "AA" }));
        keys.push(json!({ "kty": "oct", "kid": "symmetric", "k": "AAAA" }));
        json!({ "keys": keys })
    }
}

impl TestIssuer {
    /// A key file with this key set for the issuers of both versions of both tenants, and of any tenant, as Entra publishes it. It was
    /// fetched an hour ago.
    pub fn key_file(&self) -> Value {
        let keys = self.key_set()["keys"].clone();
        let issuers = [TENANT, OTHER_TENANT, "{tenantid}"].map(|tenant| {
            [
                format!("https://sts.windows.net/{tenant}/"),
                format!("https://login.microsoftonline.com/{tenant}/v2.0"),
            ]
        });
        let entry = |issuer: &String| json!({ "issuer": issuer, "fetched_at": self.now() - 3600, "keys": keys });
        let entries: Vec<Value> = issuers.as_flattened().iter().map(entry).collect();
        json!({ "issuers": entries })
    }
}

/// The document that Entra publishes at a URL: the metadata of a tenant for tokens of one version, or these keys.
pub fn published(url: &str, keys: &Value) -> Value {
    let Some(base) = url.strip_suffix("/.well-known/openid-configuration") else {
        return keys.clone();
    };
    let issuer = match base.ends_with("/v2.0") {
        true => base.to_owned(),
        false => {
            base.replace(
                "https://login.microsoftonline.com",
                "https://sts.windows.net",
            ) + "/"
        }
    };
    json!({ "issuer": issuer, "jwks_uri": format!("{base}/keys") })
}

/// A JSON Web Key.
pub(super) fn jwk(id: &str, key: &PKey<Private>, issuer: Option<String>) -> Value {
    let rsa = key.rsa().unwrap();
    let mut jwk = json!({
        "kty": "RSA",
        "use": "sig",
        "kid": id,
        "x5t": id,
        "n": URL_SAFE_NO_PAD.encode(rsa.n().to_vec()),
        "e": URL_SAFE_NO_PAD.encode(rsa.e().to_vec()),
        "x5c": ["MIIC"],
    });
    if let Some(issuer) = issuer {
        jwk["issuer"] = issuer.into();
    }
    jwk
}

fn issuer_of_key(id: &str) -> Option<String> {
    match id {
        "v2" => Some("https://login.microsoftonline.com/{tenantid}/v2.0".to_owned()),
        "foreign" => Some(format!(
            "https://login.microsoftonline.com/{OTHER_TENANT}/v2.0"
        )),
        _ => None,
    }
}
