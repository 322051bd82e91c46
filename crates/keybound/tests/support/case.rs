//! Test cases as data: the files in `tests/foreign/cases`.
use crate::foreign::{self, ServiceSet, Settings};
use crate::test_keys::FakeAttestation;
use keybound::keys::ProviderChain;
use keybound::tls::{TlsEngine, TrustAnchors};
use keybound::{
    Environment, KeyRequirements, KeyStrength, ManagedIdentity, ManagedIdentityClient, TokenRequest,
};
use serde::Deserialize;
use serde_json::Value;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// A test case. See the files in `tests/foreign/cases`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    #[serde(default)]
    pub why: String,
    #[serde(default)]
    pub forms: Vec<String>,
    #[serde(default = "tls_1_3")]
    pub tls: String,
    pub only_tls: Option<String>,
    #[serde(default = "localhost")]
    pub host: String,
    #[serde(default = "ec")]
    pub issuer: String,
    pub request: Option<RequestKind>,
    #[serde(default)]
    pub fault: Value,
    pub timeout_ms: Option<u64>,
    /// Secrets that must not leak, besides the tokens that the services issued.
    #[serde(default)]
    pub secrets: Vec<String>,
    #[serde(default)]
    pub expect: Expect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequestKind {
    UserAssigned,
    Attested,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    #[serde(default)]
    pub code: String,
    pub status: Option<u16>,
    #[serde(default)]
    pub retryable: bool,
    #[serde(default)]
    pub service_codes: Vec<u64>,
    /// Parts of the message, the next step or a cause.
    #[serde(default)]
    pub contains: Vec<String>,
    /// The status of the response, where the fault is no error.
    pub response: Option<u16>,
    /// Part of a request target after the fault is removed.
    pub then_requests: Option<String>,
}

impl Case {
    pub fn plain(tls: &str, forms: &[&str]) -> Self {
        let forms: Vec<_> = forms.iter().map(ToString::to_string).collect();
        let value = serde_json::json!({"name": format!("plain {tls} {forms:?}"), "tls": tls, "forms": forms});
        serde_json::from_value(value).unwrap()
    }

    /// This case over another version of TLS.
    pub fn over(&self, tls: &str) -> Self {
        Self {
            tls: tls.to_owned(),
            ..self.clone()
        }
    }

    pub fn open_services(&self) -> ServiceSet {
        ServiceSet::open(Settings {
            forms: &self.forms,
            tls: &self.tls,
            host: &self.host,
            issuer: &self.issuer,
        })
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
            .attestation(Arc::new(FakeAttestation))
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

    pub fn timeout(&self) -> Option<Duration> {
        self.timeout_ms.map(Duration::from_millis)
    }
}

/// The case of a file whose name, as an identifier, is this.
pub fn find_case(file: &str, test: &str) -> Case {
    let mut cases = cases(file).into_iter();
    let found = cases.find(|case| identifier(&case.name) == test);
    let case = found.unwrap_or_else(|| panic!("no case of {file}.json is named {test}"));
    println!("{}: {}", case.name, case.why);
    case
}

pub fn assert_all_have_tests(file: &str, tests: &[&str]) {
    let names: Vec<_> = cases(file)
        .iter()
        .map(|case| identifier(&case.name))
        .collect();
    assert_eq!(
        names, tests,
        "the list of {file} in foreign_services.rs differs from {file}.json"
    );
}

fn cases(file: &str) -> Vec<Case> {
    let path = foreign::folder().join("cases").join(file);
    let path = path.with_extension("json");
    let text = std::fs::read_to_string(&path).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// In lower case, with `_` for all that is neither letter nor digit.
fn identifier(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    words.join("_").to_lowercase()
}

fn tls_1_3() -> String {
    "1.3".into()
}

fn localhost() -> String {
    "localhost".into()
}

fn ec() -> String {
    "ec".into()
}

static TRUST: LazyLock<TrustAnchors> = LazyLock::new(|| {
    TrustAnchors::system()
        .with_pem(&foreign::authority())
        .unwrap()
});
