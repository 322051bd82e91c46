use super::discovery::generated_keys;
use super::issuer;
use crate::clock::Clock;
use crate::config::TokenVersion::{V1, V2};
use crate::state::State;
use keybound_core::lock;
use keybound_resource::{CertificateRules, Issuer, KeySet, Keys, TokenVersion, Verifier};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, UNIX_EPOCH};

/// The verifiers of bound tokens, by audience. They know Entra's current keys, so that a rotation has an effect at once.
#[derive(Default)]
pub(crate) struct BoundTokenVerifiers(Mutex<BTreeMap<&'static str, Current>>);

struct Current {
    keys: Vec<Value>,
    verifier: Verifier,
}

impl BoundTokenVerifiers {
    /// The verifier for an audience. `None` if no key was generated yet: no token can be valid then.
    pub fn get(&self, state: &State, audience: &'static str) -> Option<Verifier> {
        let keys = generated_keys(state);
        let mut known = lock(&self.0);
        if let Some(current) = known.get(audience)
            && current.keys == keys
        {
            return Some(current.verifier.clone());
        }
        let verifier = verifier(state, audience, &keys)?;
        let current = Current {
            keys,
            verifier: verifier.clone(),
        };
        known.insert(audience, current);
        Some(verifier)
    }
}

fn verifier(state: &State, audience: &str, keys: &[Value]) -> Option<Verifier> {
    let keys = KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).ok()?;
    let issuers = state.pki.issuer_pem().ok()?;
    let name = |version| issuer(state, version, TENANT);
    // The URL of the metadata has no effect on fixed keys.
    let v1 = Issuer::new(TokenVersion::V1, &name(V1), "").key_issuer(&name(V2));
    let v2 = Issuer::new(TokenVersion::V2, &name(V2), "");
    let builder = Verifier::builder()
        .audience(audience)
        .audience(&format!("{audience}/"))
        .tenants(state.config.tenant_ids().cloned())
        .issuer(v1)
        .issuer(v2)
        .certificate(CertificateRules::new().trusted_issuers(&issuers))
        .keys(Keys::fixed(keys))
        .skew(Duration::ZERO)
        .cache_bytes(CACHE_BYTES)
        .clock(state.clock.clone());
    let builder = match state.config.resource(audience) {
        Some(api) => builder.audience(api.client_id.as_str()),
        None => builder,
    };
    builder.build().ok()
}

/// Both clocks are the emulated one: where a test moves it back, the verifier must follow, although it does not follow the wall clock of
/// a host.
impl keybound_resource::Clock for Clock {
    fn wall(&self) -> Duration {
        self.now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn monotonic(&self) -> Duration {
        self.wall()
    }
}

/// Stands for the tenant in the names of issuers.
const TENANT: &str = "{tenantid}";
const CACHE_BYTES: usize = 1024 * 1024;
