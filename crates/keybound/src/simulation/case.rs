//! The form of a case: see `conversations/README.md`.
use super::Leg;
use super::script::Script;
use super::world::{KeyStrength2, Setup};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};

/// One conversation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    /// Why it must be so.
    #[serde(rename = "why")]
    pub(super) _why: String,
    /// The rows of the protocol that it shows.
    pub(super) rows: Vec<String>,
    #[serde(default)]
    pub(super) world: Setup,
    #[serde(default)]
    pub(super) answers: Script,
    pub(super) steps: Vec<Step>,
    #[serde(default)]
    pub(super) end: End,
}

/// Something that happens.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    /// Seconds from the start. Default: when all that was asked before has come out.
    pub(super) at: Option<f64>,
    #[serde(rename = "do")]
    pub(super) action: Action,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Action {
    Acquire(Box<Acquire>),
    /// The callers of an acquisition go away.
    Cancel(String),
    /// The host's clock is put forward or back.
    Jump(f64),
    /// The key no longer signs.
    KillKey,
    /// Another key takes the place of the key, which goes on signing.
    ReplaceKey,
    /// Entra refuses these certificates from now on.
    Revoke(Vec<usize>),
    /// All clients end; keys and store stay.
    NewProcess,
    /// Another program of the account puts a certificate into the store, beside each that is there.
    Plant(Plant),
    /// The entries of the store name another key.
    RenameStoredKeys,
    /// What the store has by now.
    Stored(usize),
    /// What was asked of the services by now.
    Counts(Counts),
}

/// A certificate that IMDS did not issue.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plant {
    /// The issuer's CN. Default: the real one's.
    pub(super) issuer: Option<String>,
    /// In days, from now on.
    pub(super) life: f64,
    /// To its `token_not_after`. Default: it has none.
    pub(super) token_life: Option<f64>,
    /// The origin of the token endpoint. Default: the one that IMDS named.
    pub(super) endpoint: Option<String>,
}

/// Callers who ask for the same.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Acquire {
    /// For [`Action::Cancel`].
    pub(super) name: Option<String>,
    /// One client by name; its own identity where it is a GUID.
    pub(super) client: String,
    /// Clients of this name are created for each request and share a state.
    pub(super) shared_state: Option<String>,
    pub(super) resource: String,
    /// So many resources: `resource` followed by a number.
    pub(super) resources: Option<usize>,
    pub(super) callers: usize,
    pub(super) claims: Option<String>,
    pub(super) capabilities: Option<Vec<String>>,
    /// The variables of the client.
    pub(super) environment: BTreeMap<String, String>,
    /// The client's own list of hosts.
    pub(super) allowed_hosts: Option<Vec<String>>,
    pub(super) force: bool,
    pub(super) timeout: Option<f64>,
    pub(super) attested: bool,
    pub(super) bearer: bool,
    pub(super) floor: KeyStrength2,
    pub(super) expect: Expect,
}

impl Default for Acquire {
    fn default() -> Self {
        Self {
            name: None,
            client: "system".to_owned(),
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
            floor: KeyStrength2::Software,
            expect: Expect::default(),
        }
    }
}

/// What must come out. What is not named is not looked at, but for an error that is not expected.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Expect {
    pub(super) source: Option<String>,
    pub(super) certificate: Option<usize>,
    pub(super) token: Option<usize>,
    /// The kind of the failure that it says it has; `none` for none.
    pub(super) renewal_failure: Option<String>,
    /// Seconds from the question.
    pub(super) after: Option<Amount>,
    pub(super) error: Option<ExpectError>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectError {
    pub(super) kind: String,
    pub(super) stage: Option<String>,
    pub(super) status: Option<u16>,
    pub(super) deadline_reached: Option<bool>,
    pub(super) retryable: Option<bool>,
    /// One of the service's codes.
    pub(super) code: Option<u64>,
    pub(super) words: Option<String>,
    /// All that the service said.
    pub(super) said: Option<Said>,
    /// Part of the next step of the error.
    pub(super) next_step: Option<String>,
}

/// A service's refusal, whole.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Said {
    pub(super) error: Option<String>,
    pub(super) error_description: Option<String>,
    pub(super) error_codes: Vec<u64>,
    pub(super) trace_id: Option<String>,
    pub(super) correlation_id: Option<String>,
    pub(super) timestamp: Option<String>,
}

/// So much, or between so much and so much.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Amount {
    One(f64),
    Between(f64, f64),
}

impl Amount {
    pub(super) fn holds(self, is: f64) -> bool {
        match self {
            Self::One(amount) => (is - amount).abs() < TOLERANCE,
            Self::Between(least, most) => (least - TOLERANCE..=most + TOLERANCE).contains(&is),
        }
    }
}

/// What must have happened in all.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct End {
    pub(super) counts: Counts,
    /// Seconds between the calls of a leg.
    pub(super) waits: HashMap<Leg, Vec<Amount>>,
    /// The claims of each token request, as JSON; null for none.
    pub(super) claims: Option<Vec<serde_json::Value>>,
    pub(super) elapsed: Option<Amount>,
}

/// How often services were asked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Counts {
    pub(super) metadata: Option<usize>,
    pub(super) issue: Option<usize>,
    pub(super) attest: Option<usize>,
    pub(super) token: Option<usize>,
    /// Of the calls of `issue`: past the cache of IMDS.
    pub(super) bypassed: Option<usize>,
    /// Certificates signed.
    pub(super) certificates: Option<usize>,
    /// Times that the key was opened.
    pub(super) keys: Option<usize>,
    pub(super) stored: Option<usize>,
    /// Attestation tokens that differ, among those sent.
    pub(super) attestations_sent: Option<usize>,
}

/// Of the timer, and of a request's little steps.
const TOLERANCE: f64 = 0.02;
