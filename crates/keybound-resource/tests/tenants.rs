//! Several tenants and issuers, with discovered keys.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use keybound_resource::{
    BuildError, ClientCertificate, FetchError, FetchFuture, Guid, Issuer, KeyFetcher, Keys, Reason,
    SharedKeys, TokenVersion, Verifier, VerifierBuilder,
};
use keybound_testing::attacks::{OTHER_TENANT, RESOURCE, TENANT, TokenRecipe};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use support::{TestClock, issuer};

#[tokio::test(start_paused = true)]
async fn tenant_in_capitals_has_the_keys_of_its_issuer() {
    let entra = Entra::default();
    let api = Api::new(&entra, |builder| {
        builder.tenant(guid(&TENANT.to_uppercase()))
    });
    api.verifier.fetch_due_keys().await;
    assert!(api.verifier.has_keys());
    assert_eq!(api.verify(&made(json!({}))), Ok(()));
    let lower = TENANT.to_lowercase();
    assert!(entra.fetched().iter().all(|url| url.contains(&lower)));
}

/// The administrators of a realm decide about the claims of its tokens.
#[tokio::test(start_paused = true)]
async fn issuer_without_a_tenant_in_its_name_issues_tokens_of_its_own_tenant_only() {
    let realm = |name: &str, tenant: &str| {
        let name = format!("https://idp.example/realms/{name}");
        Issuer::new(TokenVersion::V2, &name, &format!("{name}{METADATA}")).tenant(guid(tenant))
    };
    let api = Api::new(&Entra::default(), |builder| {
        builder
            .tenants([guid(TENANT), guid(OTHER_TENANT)])
            .issuer(realm("a", TENANT))
            .issuer(realm("b", OTHER_TENANT))
    });
    api.verifier.fetch_due_keys().await;
    for (name, tenant, expected) in [
        ("a", TENANT, Ok(())),
        ("b", OTHER_TENANT, Ok(())),
        ("a", OTHER_TENANT, Err(Reason::IssuerMismatch)),
        ("b", TENANT, Err(Reason::IssuerMismatch)),
        ("c", TENANT, Err(Reason::IssuerMismatch)),
    ] {
        let name = format!("https://idp.example/realms/{name}");
        let token = made(json!({ "claims": { "iss": name, "tid": tenant } }));
        assert_eq!(api.verify(&token), expected, "{name} {tenant}");
    }
}

#[test]
fn issuer_without_a_tenant_is_not_accepted() {
    let named = Issuer::new(TokenVersion::V2, "https://idp.example/realms/a", "");
    for (issuer, is_accepted) in [
        (named.clone(), false),
        (named.clone().tenant(guid(OTHER_TENANT)), false),
        (named.tenant(guid(TENANT)), true),
        (
            Issuer::new(TokenVersion::V2, "https://idp.example/{tenantid}", ""),
            true,
        ),
    ] {
        let builder = Verifier::builder()
            .audience(RESOURCE)
            .tenant(guid(TENANT))
            .issuer(issuer.clone())
            .keys(support::fixed_keys());
        match builder.build() {
            Ok(_) => assert!(is_accepted, "{issuer:?}"),
            Err(BuildError::IssuerTenant { .. }) => assert!(!is_accepted, "{issuer:?}"),
            Err(error) => panic!("{issuer:?}: {error}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn tenant_that_no_longer_exists_does_not_stop_the_others() {
    let entra = Entra::default();
    let gone = "00000003-86f1-41af-91ab-2d7cd011db47";
    entra.0.lock().unwrap().missing.insert(gone.to_owned());
    let others =
        (0..10).map(|number| guid(&format!("0000000{number}-86f1-41af-91ab-2d7cd011db47")));
    let api = Api::new(&entra, |builder| {
        builder.tenant(guid(TENANT)).tenants(others)
    });
    assert!(!api.verifier.has_keys());
    // One issuer after the other: it is not ready before each was tried.
    let refresh = api.verifier.due_key_refresh().unwrap();
    refresh.run().await.unwrap();
    assert!(!api.verifier.has_keys());
    api.verifier.fetch_due_keys().await;
    assert!(api.verifier.has_keys());
    assert_eq!(api.verify(&made(json!({}))), Ok(()));
    let token = |tenant: &str| {
        let issuer = format!("https://login.microsoftonline.com/{tenant}/v2.0");
        made(json!({ "claims": { "iss": issuer, "tid": tenant } }))
    };
    assert_eq!(api.verify(&token(gone)), Err(Reason::KeysUnavailable));
    let status = api.verifier.key_status();
    assert_eq!(status.len(), 22, "two issuers of eleven tenants");
    for keys in status {
        let is_gone = keys.metadata().unwrap().contains(gone);
        assert_eq!(keys.is_usable(), !is_gone, "{keys:?}");
        assert_eq!(keys.error().is_some(), is_gone, "{keys:?}");
        let counts = (keys.succeeded(), keys.failed());
        assert_eq!(counts, if is_gone { (0, 1) } else { (1, 0) }, "{keys:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn verifier_without_any_keys_is_not_ready() {
    let entra = Entra::default();
    entra.0.lock().unwrap().missing.insert(String::new());
    let api = Api::new(&entra, |builder| {
        builder.tenants([guid(TENANT), guid(OTHER_TENANT)])
    });
    api.verifier.fetch_due_keys().await;
    assert!(!api.verifier.has_keys());
    let [first, ..] = &api.verifier.key_status()[..] else {
        panic!("there are issuers");
    };
    let url = format!("https://login.microsoftonline.com/{TENANT}{METADATA}");
    assert_eq!(first.metadata(), Some(&*url));
    let expected = format!("the keys of {url} could not be loaded: not found");
    assert_eq!(first.error(), Some(&*expected));
}

#[tokio::test(start_paused = true)]
async fn verifiers_share_the_keys_of_equal_issuers() {
    let entra = Entra::default();
    let shared = SharedKeys::new();
    let api = |tenants: &[&str]| {
        let tenants: Vec<_> = tenants.iter().map(|tenant| guid(tenant)).collect();
        Api::new(&entra, |builder| {
            builder.tenants(tenants).shared_keys(&shared)
        })
    };
    let apis: Vec<Api> = (0..20).map(|_| api(&[TENANT])).collect();
    let fetches = apis.iter().map(|api| api.verifier.fetch_due_keys());
    futures_util::future::join_all(fetches).await;
    assert_eq!(entra.fetched().len(), 4, "two documents of two versions");
    assert!(apis.iter().all(|api| api.verifier.has_keys()));
    // A verifier with another policy replaces them while the issuer does not respond.
    entra.0.lock().unwrap().missing.insert(String::new());
    let replacement = api(&[TENANT]);
    drop(apis);
    assert!(replacement.verifier.has_keys());
    assert_eq!(replacement.verify(&made(json!({}))), Ok(()));
    assert!(!api(&[OTHER_TENANT]).verifier.has_keys());
    assert_eq!(entra.fetched(), [""; 0]);
}

/// At the same age, some are due and others are not.
#[tokio::test(start_paused = true)]
async fn replicas_do_not_refresh_together() {
    let entra = Entra::default();
    let clock = TestClock::new();
    let replicas: Vec<Api> = (0..64)
        .map(|_| {
            Api::new(&entra, |builder| {
                builder.tenant(guid(TENANT)).clock(clock.clone())
            })
        })
        .collect();
    for replica in &replicas {
        replica.verifier.fetch_due_keys().await;
    }
    for (seconds, all, none) in [(3300, false, true), (150, false, false), (150, true, false)] {
        clock.advance(seconds);
        let due = replicas
            .iter()
            .map(|replica| replica.verifier.due_key_refresh());
        let due = due.filter(Option::is_some).count();
        assert_eq!((due == 64, due == 0), (all, none), "{due}");
    }
}

/// The documents of every tenant, and of each realm of another identity provider.
#[derive(Clone, Default)]
struct Entra(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    fetched: Vec<String>,
    /// Parts of the URLs that are not found.
    missing: BTreeSet<String>,
}

impl Entra {
    /// The URLs that were fetched since the last call.
    fn fetched(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().fetched)
    }
}

impl KeyFetcher for Entra {
    fn fetch<'a>(&'a self, url: &'a str) -> FetchFuture<'a> {
        let mut inner = self.0.lock().unwrap();
        inner.fetched.push(url.to_owned());
        let is_missing = inner.missing.iter().any(|part| url.contains(part));
        Box::pin(async move {
            if is_missing {
                return Err(FetchError::new("not found"));
            }
            Ok(document(url).to_string().into_bytes())
        })
    }
}

fn document(url: &str) -> Value {
    let Some(base) = url.strip_suffix(METADATA) else {
        return keys();
    };
    let issuer = match base.strip_prefix("https://login.microsoftonline.com/") {
        // Entra's names are in lower case, whatever the case in the URL.
        Some(tenant) if !tenant.ends_with("/v2.0") => {
            format!("https://sts.windows.net/{}/", tenant.to_lowercase())
        }
        Some(tenant) => format!(
            "https://login.microsoftonline.com/{}",
            tenant.to_lowercase()
        ),
        None => base.to_owned(),
    };
    json!({ "issuer": issuer, "jwks_uri": format!("{base}/keys") })
}

/// Those that name no issuer.
fn keys() -> Value {
    let mut set = issuer().key_set();
    let keys = set["keys"].as_array_mut().unwrap();
    keys.retain(|key| key.get("issuer").is_none());
    set
}

struct Api {
    verifier: Verifier,
    certificate: ClientCertificate,
}

impl Api {
    fn new(entra: &Entra, settings: impl FnOnce(VerifierBuilder) -> VerifierBuilder) -> Self {
        let builder = Verifier::builder()
            .audience(RESOURCE)
            .keys(Keys::discovered(entra.clone()))
            .clock(TestClock::new());
        let der = issuer().certificates.der("client").unwrap();
        Self {
            verifier: settings(builder).build().unwrap(),
            certificate: ClientCertificate::from_der(&der).unwrap(),
        }
    }

    fn verify(&self, token: &str) -> Result<(), Reason> {
        let header = format!("mtls_pop {token}");
        let verified = self.verifier.verify(header.as_str(), &self.certificate);
        verified.map(|_| ()).map_err(|refusal| refusal.reason())
    }
}

fn made(recipe: Value) -> String {
    let recipe: TokenRecipe = serde_json::from_value(recipe).unwrap();
    recipe.make(issuer())
}

fn guid(text: &str) -> Guid {
    Guid::parse(text).unwrap()
}

const METADATA: &str = "/.well-known/openid-configuration";
