//! The scripted responses of the services.
use super::Leg;
use keybound_transport::TransportErrorKind;
use serde::Deserialize;
use std::time::Duration;

/// The answers in order, by leg; then what holds for a time or for a certificate. Without a word, all goes well.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Script {
    metadata: Vec<Outcome>,
    issue: Vec<Outcome>,
    attest: Vec<Outcome>,
    token: Vec<Outcome>,
    rules: Vec<Rule>,
}

/// An answer while something holds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    leg: Leg,
    from: Option<f64>,
    until: Option<f64>,
    /// Over one of these certificates.
    certificates: Option<Vec<usize>>,
    resource: Option<String>,
    answer: Outcome,
}

/// One answer. Without a member: the right one.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Outcome {
    /// How often it is given, in the lists. Default: once.
    times: Option<u32>,
    pub(super) status: Option<u16>,
    pub(super) retry_after: Option<u64>,
    /// Seconds from now, said as a date.
    pub(super) retry_after_date: Option<u64>,
    /// That date is by the service's clock, and the answer says what that shows. Else it is by the host's.
    pub(super) dated: bool,
    /// The whole body; with a status other than 200 without one, it is empty.
    pub(super) body: Option<serde_json::Value>,
    /// The whole body, where it is not JSON.
    pub(super) text: Option<String>,
    /// A byte order mark stands before the body.
    pub(super) marked: bool,
    /// Members that are other than in the right answer.
    pub(super) members: serde_json::Map<String, serde_json::Value>,
    pub(super) fault: Option<Fault>,
    /// The connection is accepted, and nothing is said.
    pub(super) hang: bool,
    /// How long the answer takes, in seconds.
    pub(super) after: Option<f64>,
    pub(super) expires_in: Option<u64>,
    pub(super) refresh_in: Option<u64>,
    /// Claims of the token that are other than right.
    pub(super) claims: serde_json::Map<String, serde_json::Value>,
    /// The token was issued so many seconds ago.
    pub(super) stale: Option<u64>,
    /// The token is bound to another certificate.
    pub(super) wrong_binding: bool,
    /// The `Server` header of IMDS; empty for none.
    pub(super) server: Option<String>,
}

/// What can happen to a connection.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Fault {
    ClientCertificateRejected,
    /// The connection ends after the client certificate was presented, without an alert.
    ClosedAfterCertificate,
    Connect,
    /// The connection ends before the answer is complete.
    Closed,
    Key,
    Protocol,
    Tls,
}

/// What a service is asked.
pub(super) struct Answering<'a> {
    pub(super) leg: Leg,
    pub(super) certificate: Option<usize>,
    pub(super) resource: Option<&'a str>,
}

impl Outcome {
    /// The body in the place of the right one.
    pub(super) fn own_body(&self) -> Option<String> {
        let text = self.text.clone();
        text.or_else(|| self.body.as_ref().map(|body| self.printed(body)))
    }

    /// Puts the members that are other than right into an answer.
    pub(super) fn change(&self, answer: &mut serde_json::Value) {
        for (name, value) in &self.members {
            answer[name] = value.clone();
        }
    }

    pub(super) fn printed(&self, answer: &serde_json::Value) -> String {
        let mark = if self.marked { "\u{feff}" } else { "" };
        format!("{mark}{answer}")
    }

    /// An answer with this status.
    pub(super) fn status(status: u16) -> Self {
        Self {
            status: Some(status),
            ..Self::default()
        }
    }
}

impl Script {
    /// The next answer.
    pub(super) fn next(&mut self, asked: &Answering<'_>, elapsed: Duration) -> Outcome {
        let elapsed = elapsed.as_secs_f64();
        let rule = self.rules.iter().find(|rule| rule.applies(asked, elapsed));
        if let Some(rule) = rule {
            return rule.answer.clone();
        }
        let list = self.list(asked.leg);
        let Some(first) = list.first_mut() else {
            return Outcome::default();
        };
        let answer = first.clone();
        match &mut first.times {
            Some(times) if *times > 1 => *times -= 1,
            _ => {
                list.remove(0);
            }
        }
        answer
    }

    /// What was scripted and never asked for.
    pub(super) fn rest(&self) -> usize {
        [&self.metadata, &self.issue, &self.attest, &self.token]
            .iter()
            .map(|list| list.len())
            .sum()
    }

    fn list(&mut self, leg: Leg) -> &mut Vec<Outcome> {
        match leg {
            Leg::Metadata => &mut self.metadata,
            Leg::Issue => &mut self.issue,
            Leg::Attest => &mut self.attest,
            Leg::Token => &mut self.token,
        }
    }
}

impl Rule {
    fn applies(&self, asked: &Answering<'_>, elapsed: f64) -> bool {
        let certificate = |numbers: &Vec<usize>| {
            asked
                .certificate
                .is_some_and(|certificate| numbers.contains(&certificate))
        };
        self.leg == asked.leg
            && self.from.is_none_or(|from| elapsed >= from)
            && self.until.is_none_or(|until| elapsed < until)
            && self.certificates.as_ref().is_none_or(certificate)
            && self
                .resource
                .as_ref()
                .is_none_or(|resource| asked.resource == Some(resource))
    }
}

impl From<Fault> for TransportErrorKind {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::ClientCertificateRejected | Fault::ClosedAfterCertificate => {
                Self::ClientCertificateRejected
            }
            Fault::Connect => Self::Connect,
            Fault::Closed => Self::Protocol,
            Fault::Key => Self::Key,
            Fault::Protocol => Self::Protocol,
            Fault::Tls => Self::Tls,
        }
    }
}
