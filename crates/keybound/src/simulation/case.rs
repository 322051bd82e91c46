//! The format of a test case: see `conversations/README.md`.
use super::app::WrittenAssertion;
use super::expect::Members;
use super::script::Script;
use super::test_host::{KeyStrengthName, Setup};
use keybound_core::KeyStrength;
use serde::Deserialize;
use std::collections::BTreeMap;

/// One conversation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    /// Why this behaviour is required.
    pub(super) why: String,
    /// The rows of the protocol that it tests.
    pub(super) rows: Vec<String>,
    #[serde(default)]
    pub(super) setup: Setup,
    #[serde(default)]
    pub(super) responses: Script,
    pub(super) steps: Vec<Step>,
    /// The expected totals: see `check_end` in `expect.rs`.
    #[serde(default)]
    pub(super) end: Members,
}

/// One step of a case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    /// Seconds from the start. Default: when all earlier acquisitions have finished.
    pub(super) at: Option<f64>,
    #[serde(rename = "do")]
    pub(super) action: Action,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Action {
    Acquire(Box<Acquire>),
    /// Gets the capabilities of the host: callers, client and timeout are those of an acquisition.
    Capabilities(Box<Acquire>),
    /// Drops the callers of an acquisition.
    Cancel(String),
    /// Sets the host's clock forward or back.
    Jump(f64),
    /// Writes the file with the assertion.
    WriteAssertion(WrittenAssertion),
    /// Makes the key fail to sign.
    KillKey,
    /// Replaces the key; the old one still signs.
    ReplaceKey,
    /// Makes Entra reject these certificates.
    Revoke(Vec<usize>),
    /// Drops all clients. Keys and store remain.
    NewProcess,
    /// Another program of the account saves a certificate to the store, beside each entry.
    Plant(Plant),
    /// Changes the key name of all entries of the store.
    RenameStoredKeys,
    /// Checks the number of entries in the store.
    Stored(usize),
    /// Checks the number of requests so far.
    Counts(Members),
}

/// A certificate that IMDS did not issue.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plant {
    /// The issuer's CN. Default: the real issuer's.
    pub(super) issuer: Option<String>,
    /// In days, from now.
    pub(super) life: f64,
    /// Until its `token_not_after`, in days. Default: it has none.
    pub(super) token_life: Option<f64>,
    /// The origin of the token endpoint. Default: the one from IMDS.
    pub(super) endpoint: Option<String>,
}

/// Callers with the same request.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Acquire {
    /// For [`Action::Cancel`].
    pub(super) name: Option<String>,
    /// The client's name; a GUID is also its identity, by client id.
    pub(super) client: String,
    /// A client of the app registration with this credential; the client of the managed identity is that of the assertions.
    pub(super) app: Option<AppCredential>,
    /// The capabilities of the client of the app registration. Default: those of the other client.
    pub(super) app_capabilities: Option<Vec<String>>,
    /// The client's identity by another id.
    pub(super) identity: Option<Identity>,
    /// The name of a shared state: a client is created for each request.
    pub(super) shared_state: Option<String>,
    pub(super) resource: String,
    /// The number of resources: `resource` followed by a number.
    pub(super) resources: Option<usize>,
    pub(super) callers: usize,
    pub(super) claims: Option<String>,
    pub(super) capabilities: Option<Vec<String>>,
    /// The client's environment variables.
    pub(super) environment: BTreeMap<String, String>,
    /// The client's allow-list.
    pub(super) allowed_hosts: Option<Vec<String>>,
    pub(super) force: bool,
    pub(super) timeout: Option<f64>,
    pub(super) attested: bool,
    /// A plain bearer token from the host's source.
    pub(super) bearer: bool,
    pub(super) bearer_over_mtls: bool,
    #[serde(with = "KeyStrengthName")]
    pub(super) min_strength: KeyStrength,
    /// The expected result, without the members that are not checked: see `describe_token` and `describe_capabilities` in
    /// `expect.rs`.
    pub(super) expect: Members,
}

impl Default for Acquire {
    fn default() -> Self {
        Self {
            name: None,
            client: "system".to_owned(),
            app: None,
            app_capabilities: None,
            identity: None,
            shared_state: None,
            resource: "https://vault.azure.net".to_owned(),
            resources: None,
            callers: 1,
            claims: None,
            capabilities: None,
            environment: BTreeMap::new(),
            allowed_hosts: None,
            force: false,
            timeout: None,
            attested: false,
            bearer: false,
            bearer_over_mtls: false,
            min_strength: KeyStrength::Software,
            expect: Members::new(),
        }
    }
}

/// Where the assertions of the app registration are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum AppCredential {
    ManagedIdentity,
    File,
    /// Its assertion is a new one after a refusal or a challenge.
    Callback,
    /// Its assertion is the cached one, whatever the reason.
    CachedCallback,
    /// It fails after a refusal.
    OnceCallback,
    FailingCallback,
    /// Its first call never returns.
    HangingCallback,
    PanickingCallback,
    /// Its assertion has no certificate.
    UnboundCallback,
    /// Its certificate is that of another identity.
    OtherCertificateCallback,
    /// Its assertion has a certificate, whatever the request requires of it.
    LenientCallback,
    /// Its assertion is the first one again.
    KeptCallback,
}

/// A user-assigned identity.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Identity {
    ObjectId(String),
    ResourceId(String),
}
