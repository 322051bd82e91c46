//! The attack table: requests to a resource as data, with the verdict that every verifier must give.
//!
//! The cases are in `attacks/*.json` of this crate. A way in, such as a library, a layer or a daemon behind a proxy, is a function
//! from an [`AttackRequest`] and its [`PolicyOfCase`] to a [`Verdict`]; [`run`] compares all verdicts.
mod case;
mod certificates;
mod issuer;
mod token;

pub use case::{AttackCase, Expected, PolicyOfCase, cases};
pub use certificates::ClientCertificates;
pub use issuer::{CLIENT, KEY_IDS, OTHER_TENANT, RESOURCE, TENANT, TestIssuer, published};
pub use token::TokenRecipe;

use std::time::{Duration, SystemTime};

/// A request, as it arrives at the verifier.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct AttackRequest {
    /// The values of the `Authorization` headers.
    pub authorization: Vec<Vec<u8>>,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// The certificate of the TLS connection, in DER. It may be malformed.
    pub certificate: Option<Vec<u8>>,
    /// The path with its query.
    pub path: String,
    /// How much later than the tokens were made the request arrives; negative: earlier.
    pub seconds_later: i64,
}

/// What a way in decided.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// The status of the response; 200 if the request was accepted.
    pub status: u16,
    /// The code of the reason.
    pub reason: Option<String>,
    /// Whether the way in returns reasons: it is wrong then if one is missing.
    pub names_reasons: bool,
    /// The header `WWW-Authenticate`.
    pub challenge: Option<String>,
}

impl Verdict {
    /// The request was accepted.
    pub fn accepted() -> Self {
        Self::refused(200, None, None)
    }

    /// The request was refused.
    pub fn refused(status: u16, reason: Option<String>, challenge: Option<String>) -> Self {
        Self {
            status,
            reason,
            names_reasons: true,
            challenge,
        }
    }

    /// A way in that returns no reasons, and passes on the challenge of a 401 only.
    #[must_use]
    pub fn without_reasons(mut self) -> Self {
        self.reason = None;
        self.names_reasons = false;
        self
    }
}

/// Runs all cases through a way in. It returns `None` for a request that it cannot send, such as one with a line feed in a header: at
/// most [`MAX_NOT_SENT`].
///
/// # Panics
/// With every wrong verdict, if there is one.
pub fn run(
    way: &str,
    issuer: &TestIssuer,
    decide: impl FnMut(&AttackRequest, &PolicyOfCase) -> Option<Verdict>,
) {
    let not_sent = run_sendable(way, issuer, decide);
    assert!(not_sent.len() <= MAX_NOT_SENT, "{way}: {not_sent:?}");
}

/// Like [`run`], for a way in that cannot send more of them. Returns their names.
///
/// # Panics
/// With every wrong verdict, if there is one.
pub fn run_sendable(
    way: &str,
    issuer: &TestIssuer,
    mut decide: impl FnMut(&AttackRequest, &PolicyOfCase) -> Option<Verdict>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut not_sent = Vec::new();
    let cases = cases();
    for case in &cases {
        let Some(verdict) = decide(&case.request(issuer), &case.policy()) else {
            not_sent.push(case.name.clone());
            continue;
        };
        if let Err(difference) = case.expect.compare(&verdict) {
            wrong.push(format!("{}: {difference}", case.name));
        }
    }
    assert!(
        wrong.is_empty(),
        "{way}: {} of {} verdicts are wrong:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
    not_sent
}

/// The time for which tests without a real clock make tokens.
pub fn fixed_now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// How many cases a way in may not be able to send.
pub const MAX_NOT_SENT: usize = 6;
