//! Test cases as data: `tests/foreign/forms.json`.
use crate::foreign::{self, ServiceSet};
use keybound::keys::ProviderChain;
use keybound::tls::{TlsEngine, TrustAnchors};
use keybound::{
    Environment, KeyRequirements, KeyStrength, ManagedIdentity, ManagedIdentityClient, TokenRequest,
};
use keybound_testing::FakeAttestation;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::{Arc, LazyLock};

/// A form of valid responses.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    pub name: String,
    pub only_tls: Option<String>,
    pub request: Option<RequestKind>,
    /// The settings of the services.
    #[serde(flatten)]
    pub settings: Map<String, Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequestKind {
    UserAssigned,
    Attested,
}

impl Case {
    pub fn plain(tls: &str, forms: &[&str]) -> Self {
        let value = json!({"name": "plain", "tls": tls, "forms": forms});
        serde_json::from_value(value).unwrap()
    }

    /// This case over another version of TLS.
    pub fn over(&self, tls: &str) -> Self {
        let mut case = self.clone();
        case.settings.insert("tls".to_owned(), tls.into());
        case
    }

    pub fn open_services(&self) -> ServiceSet {
        foreign::command(&json!({ "open": self.settings }))
    }

    pub fn client(&self, services: &ServiceSet, keys: ProviderChain) -> ManagedIdentityClient {
        let identity = match self.request {
            Some(RequestKind::UserAssigned) => {
                ManagedIdentity::client_id(&services.user_assigned_id).unwrap()
            }
            _ => ManagedIdentity::system_assigned(),
        };
        ManagedIdentityClient::builder()
            .tls_engine(TlsEngine::OpenSsl)
            .identity(identity)
            .imds_endpoint(&services.imds)
            .trust(TRUST.clone())
            .key_providers(keys)
            .attestation(Arc::new(FakeAttestation::default()))
            .environment(Environment::empty())
            .retries(false)
            .build()
            .unwrap()
    }

    pub fn request(&self, services: &ServiceSet) -> TokenRequest {
        let requirements = match self.request {
            Some(RequestKind::Attested) => KeyRequirements::attested(),
            _ => KeyRequirements::unattested(),
        };
        TokenRequest::pop(
            &services.audience,
            requirements.min_strength(KeyStrength::Software),
        )
    }
}

/// The case whose name, as an identifier, is this.
pub fn find_case(test: &str) -> Case {
    let mut cases = CASES.iter();
    let found = cases.find(|case| identifier(&case.name) == test);
    let case = found.unwrap_or_else(|| panic!("no case of forms.json is named {test}"));
    println!("{}", case.name);
    case.clone()
}

/// The names of the cases' tests.
pub fn names() -> Vec<String> {
    CASES.iter().map(|case| identifier(&case.name)).collect()
}

/// In lower case, with `_` for all that is neither letter nor digit.
fn identifier(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    words.join("_").to_lowercase()
}

static CASES: LazyLock<Vec<Case>> =
    LazyLock::new(|| serde_json::from_str(include_str!("../foreign/forms.json")).unwrap());
static TRUST: LazyLock<TrustAnchors> = LazyLock::new(|| {
    let authority = foreign::authority();
    TrustAnchors::system().with_pem(authority).unwrap()
});
