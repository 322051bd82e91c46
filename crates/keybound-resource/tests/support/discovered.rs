//! An API with discovered keys, by a fake clock and a fake issuer.
use super::{TestClock, issuer};
use keybound_resource::{
    ClientCertificate, FetchError, FetchFuture, Guid, KeyFetcher, Keys, Reason, Verifier,
    VerifierBuilder,
};
use keybound_testing::attacks::{RESOURCE, TENANT, TokenRecipe};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// The documents of an issuer by URL, and the URLs that were fetched.
#[derive(Clone, Default)]
pub struct FakeIssuer(pub Arc<Mutex<Inner>>);

#[derive(Default)]
pub struct Inner {
    pub documents: BTreeMap<String, Vec<u8>>,
    pub fetched: Vec<String>,
    /// Fetches wait for it.
    pub gate: Option<Arc<Notify>>,
}

impl FakeIssuer {
    /// With these keys for both versions.
    pub fn with_keys(keys: &Value) -> Self {
        let fake = Self::default();
        for (version, iss) in [
            ("", format!("https://sts.windows.net/{TENANT}/")),
            ("/v2.0", v2_issuer(TENANT)),
        ] {
            let keys_url = format!("{HOST}/{TENANT}/discovery{version}/keys");
            fake.publish_metadata(version, &json!({ "issuer": iss, "jwks_uri": keys_url }));
            fake.publish(&keys_url, keys);
        }
        fake
    }

    pub fn publish_metadata(&self, version: &str, metadata: &Value) {
        let url = format!("{HOST}/{TENANT}{version}/.well-known/openid-configuration");
        self.publish(&url, metadata);
    }

    pub fn publish_keys(&self, keys: &Value) {
        for version in ["", "/v2.0"] {
            self.publish(&format!("{HOST}/{TENANT}/discovery{version}/keys"), keys);
        }
    }

    pub fn publish(&self, url: &str, document: &Value) {
        self.publish_text(url, document.to_string().as_bytes());
    }

    pub fn publish_text(&self, url: &str, document: &[u8]) {
        let mut inner = self.0.lock().unwrap();
        inner.documents.insert(url.to_owned(), document.to_vec());
    }

    pub fn fail(&self) {
        self.0.lock().unwrap().documents.clear();
    }

    pub fn close_gate(&self) -> Arc<Notify> {
        let gate = Arc::new(Notify::new());
        self.0.lock().unwrap().gate = Some(Arc::clone(&gate));
        gate
    }

    /// Lets the fetches that wait and all later ones end.
    pub fn open_gate(&self, gate: &Notify) {
        self.0.lock().unwrap().gate = None;
        gate.notify_waiters();
    }

    /// The number of fetches since the last call.
    pub fn fetches(&self) -> usize {
        std::mem::take(&mut self.0.lock().unwrap().fetched).len()
    }
}

impl KeyFetcher for FakeIssuer {
    fn fetch<'a>(&'a self, url: &'a str) -> FetchFuture<'a> {
        let mut inner = self.0.lock().unwrap();
        inner.fetched.push(url.to_owned());
        let gate = inner.gate.clone();
        Box::pin(async move {
            if let Some(gate) = gate {
                gate.notified().await;
            }
            let inner = self.0.lock().unwrap();
            let document = inner.documents.get(url).cloned();
            document.ok_or_else(|| FetchError::new("not found"))
        })
    }
}

pub struct Api {
    pub verifier: Verifier,
    pub clock: TestClock,
    pub issuer: FakeIssuer,
    pub certificate: ClientCertificate,
}

impl Api {
    pub fn new(issuer: FakeIssuer) -> Self {
        Self::of_tenant(issuer, TENANT)
    }

    pub fn of_tenant(issuer: FakeIssuer, tenant: &str) -> Self {
        Self::with(issuer, |builder| {
            builder.tenant(Guid::parse(tenant).unwrap())
        })
    }

    /// With a tenant and further settings.
    pub fn with(
        issuer: FakeIssuer,
        settings: impl FnOnce(VerifierBuilder) -> VerifierBuilder,
    ) -> Self {
        let clock = TestClock::new();
        let certificates = &super::issuer().certificates;
        let builder = Verifier::builder()
            .audience(RESOURCE)
            .keys(Keys::discovered(issuer.clone()))
            .clock(clock.clone());
        Self {
            verifier: settings(builder).build().unwrap(),
            clock,
            issuer,
            certificate: ClientCertificate::from_der(&certificates.der("client").unwrap()).unwrap(),
        }
    }

    pub async fn started(keys: &Value) -> Self {
        let api = Self::new(FakeIssuer::with_keys(keys));
        api.verifier.fetch_due_keys().await;
        assert!(api.verifier.has_keys());
        assert_eq!(api.issuer.fetches(), 4, "two documents of two versions");
        api
    }

    /// Without waiting for keys.
    pub fn verify(&self, token: &str) -> Result<(), Reason> {
        let header = format!("mtls_pop {token}");
        let verified = self.verifier.verify(header.as_str(), &self.certificate);
        verified.map(|_| ()).map_err(|refusal| refusal.reason())
    }

    pub async fn authenticate(&self, token: &str) -> Result<(), Reason> {
        let header = format!("mtls_pop {token}");
        let verified = self
            .verifier
            .authenticate(header.as_str(), &self.certificate);
        let verified = verified.await;
        verified.map(|_| ()).map_err(|refusal| refusal.reason())
    }
}

/// The key set with some of its keys.
pub fn keys(ids: &[&str]) -> Value {
    let all = issuer().key_set();
    let has_id = |key: &&Value| ids.contains(&key["kid"].as_str().unwrap());
    let keys: Vec<&Value> = all["keys"]
        .as_array()
        .unwrap()
        .iter()
        .filter(has_id)
        .collect();
    json!({ "keys": keys })
}

pub fn token(version: u8) -> String {
    made(json!({ "version": version }))
}

pub fn signed_by(key: &str) -> String {
    made(json!({ "key": key }))
}

pub fn made(recipe: Value) -> String {
    let recipe: TokenRecipe = serde_json::from_value(recipe).unwrap();
    recipe.make(issuer())
}

pub fn v2_issuer(tenant: &str) -> String {
    format!("{HOST}/{tenant}/v2.0")
}

pub const HOST: &str = "https://login.microsoftonline.com";
