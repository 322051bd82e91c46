//! The format of a test case: see `conversations/README.md`.
use super::Leg;
use super::script::Script;
use super::test_host::{KeyStrengthName, Setup};
use keybound_core::KeyStrength;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};

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
    #[serde(default)]
    pub(super) end: End,
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
    /// Drops the callers of an acquisition.
    Cancel(String),
    /// Sets the host's clock forward or back.
    Jump(f64),
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
    Counts(Counts),
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
    pub(super) expect: Expect,
}

impl Default for Acquire {
    fn default() -> Self {
        Self {
            name: None,
            client: "system".to_owned(),
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
            expect: Expect::default(),
        }
    }
}

/// A user-assigned identity.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Identity {
    ObjectId(String),
    ResourceId(String),
}

/// The expected result. Members that are missing are not checked, except for an unexpected error.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Expect {
    pub(super) source: Option<String>,
    pub(super) managed_identity_source: Option<String>,
    pub(super) certificate: Option<usize>,
    pub(super) token: Option<usize>,
    /// The error kind of the token's `refresh_failure`; `none` for none.
    pub(super) refresh_failure: Option<String>,
    /// Seconds since the request.
    pub(super) after: Option<Amount>,
    pub(super) error: Option<ExpectError>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectError {
    pub(super) kind: String,
    pub(super) stage: Option<String>,
    pub(super) status: Option<u16>,
    pub(super) deadline_exceeded: Option<bool>,
    pub(super) retryable: Option<bool>,
    /// One of the service's error codes.
    pub(super) code: Option<u64>,
    /// Part of the error's message.
    pub(super) message: Option<String>,
    /// The service's whole error response.
    pub(super) service_error: Option<ExpectServiceError>,
    /// Part of the error's next step.
    pub(super) next_step: Option<String>,
}

/// A service's error response.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectServiceError {
    pub(super) error: Option<String>,
    pub(super) error_description: Option<String>,
    pub(super) error_codes: Vec<u64>,
    pub(super) trace_id: Option<String>,
    pub(super) correlation_id: Option<String>,
    pub(super) timestamp: Option<String>,
}

/// A number, or a range of numbers.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Amount {
    One(f64),
    Between(f64, f64),
}

impl Amount {
    pub(super) fn matches(self, actual: f64) -> bool {
        match self {
            Self::One(amount) => (actual - amount).abs() < TOLERANCE,
            Self::Between(min, max) => (min - TOLERANCE..=max + TOLERANCE).contains(&actual),
        }
    }
}

/// The expected totals of a case.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct End {
    pub(super) counts: Counts,
    /// Seconds between the requests of a leg.
    pub(super) waits: HashMap<Leg, Vec<Amount>>,
    /// The claims of each token request, as JSON; null for none.
    pub(super) claims: Option<Vec<serde_json::Value>>,
    /// The parameters of each token request to a source of v1; a revoked token by its number.
    pub(super) source_queries: Option<Vec<serde_json::Value>>,
    pub(super) elapsed: Option<Amount>,
}

/// Numbers of requests and results.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Counts {
    pub(super) metadata: Option<usize>,
    pub(super) issue: Option<usize>,
    pub(super) attest: Option<usize>,
    pub(super) token: Option<usize>,
    pub(super) challenge: Option<usize>,
    pub(super) source: Option<usize>,
    /// The `issue` requests past IMDS's cache.
    pub(super) bypassed: Option<usize>,
    /// Certificates that were issued.
    pub(super) certificates: Option<usize>,
    /// How often the key was opened.
    pub(super) keys: Option<usize>,
    pub(super) stored: Option<usize>,
    /// Different attestation tokens that were sent.
    pub(super) attestations_sent: Option<usize>,
}

/// For the timer's resolution and the duration of a request.
const TOLERANCE: f64 = 0.02;
