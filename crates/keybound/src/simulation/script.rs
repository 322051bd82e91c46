//! The scripted responses of the services.
use super::sources::KeyFile;
use super::{Call, Leg};
use keybound_transport::{TransportError, TransportErrorKind as Kind};
use serde::Deserialize;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// The responses of each leg in order, and rules for a time or a certificate, which take precedence. The default is success.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Script {
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(flatten)]
    lists: HashMap<Leg, VecDeque<ScriptedResponse>>,
}

/// A response that is sent while a condition holds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    leg: Leg,
    from: Option<f64>,
    until: Option<f64>,
    /// For requests with one of these certificates.
    certificates: Option<Vec<usize>>,
    resource: Option<String>,
    response: ScriptedResponse,
}

/// One response. The default is the correct one.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ScriptedResponse {
    /// How often it is sent, in a list. Default: once.
    times: Option<u32>,
    status: Option<u16>,
    pub(super) retry_after: Option<u64>,
    /// Seconds from now, sent as a date.
    pub(super) retry_after_date: Option<u64>,
    /// Whether that date is by the service's clock, which the response has in `Date`; otherwise it is by the host's.
    pub(super) dated: bool,
    /// The whole body. Default with a status other than 200: empty.
    body: Option<serde_json::Value>,
    /// The whole body, if it is not JSON.
    text: Option<String>,
    /// Whether the body starts with a byte order mark.
    byte_order_mark: bool,
    /// Members that differ from the correct response.
    members: serde_json::Map<String, serde_json::Value>,
    pub(super) fault: Option<Fault>,
    /// Whether the connection is accepted and no response is sent.
    pub(super) hang: bool,
    /// Seconds until the response.
    pub(super) after: Option<f64>,
    pub(super) expires_in: Option<u64>,
    pub(super) refresh_in: Option<u64>,
    /// Claims that differ from the correct token.
    pub(super) claims: serde_json::Map<String, serde_json::Value>,
    /// The token's age in seconds.
    pub(super) age: Option<u64>,
    /// Whether the token is bound to another certificate.
    pub(super) wrong_binding: bool,
    /// The `Server` header of IMDS; empty for none.
    pub(super) server: Option<String>,
    /// The challenge of Azure Arc, with `{tokens}` for its directory and `{name}` for the name of its file.
    pub(super) www_authenticate: Option<String>,
    /// The file that the challenge of Azure Arc names.
    pub(super) key: KeyFile,
}

/// A failure of a connection.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Fault {
    ClientCertificateRejected,
    /// The connection is closed after the client certificate was presented, without an alert.
    ClosedAfterCertificate,
    Connect,
    /// The connection is closed before the response is complete.
    Closed,
    Key,
    Protocol,
    Tls,
}

impl ScriptedResponse {
    /// Status and body, unless the correct response is to be sent.
    pub(super) fn scripted(&self) -> Option<(u16, String)> {
        let json = || self.body.as_ref().map(|body| self.serialize(body));
        let body = self.text.clone().or_else(json);
        match self.status.unwrap_or(200) {
            200 => body.map(|body| (200, body)),
            status => Some((status, body.unwrap_or_default())),
        }
    }

    /// Changes the scripted members of a response.
    pub(super) fn change(&self, body: &mut serde_json::Value) {
        for (name, value) in &self.members {
            body[name] = value.clone();
        }
    }

    pub(super) fn serialize(&self, body: &serde_json::Value) -> String {
        let mark = if self.byte_order_mark { "\u{feff}" } else { "" };
        format!("{mark}{body}")
    }
}

impl Script {
    /// The next response.
    pub(super) fn next(&mut self, call: &Call, elapsed: Duration) -> ScriptedResponse {
        let elapsed = elapsed.as_secs_f64();
        if let Some(rule) = self.rules.iter().find(|rule| rule.applies(call, elapsed)) {
            return rule.response.clone();
        }
        let list = self.lists.entry(call.leg).or_default();
        if let Some(first) = list.front_mut()
            && let Some(times @ 2..) = &mut first.times
        {
            *times -= 1;
            return first.clone();
        }
        list.pop_front().unwrap_or_default()
    }

    /// The number of scripted responses that were not sent.
    pub(super) fn unused(&self) -> usize {
        self.lists.values().map(VecDeque::len).sum()
    }
}

impl Rule {
    fn applies(&self, call: &Call, elapsed: f64) -> bool {
        let certificates = self.certificates.as_ref();
        let resource = self.resource.as_ref();
        self.leg == call.leg
            && self.from.is_none_or(|from| elapsed >= from)
            && self.until.is_none_or(|until| elapsed < until)
            && certificates.is_none_or(|numbers| numbers.contains(&call.certificate))
            && resource.is_none_or(|resource| resource == call.resource())
    }
}

impl From<Fault> for TransportError {
    fn from(fault: Fault) -> Self {
        let (kind, connection_lost) = match fault {
            Fault::ClientCertificateRejected => (Kind::ClientCertificateRejected, false),
            Fault::ClosedAfterCertificate => (Kind::ClientCertificateRejected, true),
            Fault::Connect => (Kind::Connect, true),
            Fault::Closed => (Kind::Protocol, true),
            Fault::Key => (Kind::Key, false),
            Fault::Protocol => (Kind::Protocol, false),
            Fault::Tls => (Kind::Tls, false),
        };
        let error = Self::new(kind, "scripted failure");
        match connection_lost {
            true => error.with_connection_lost(),
            false => error,
        }
    }
}

/// Random failures.
pub(super) struct Failing {
    pub(super) source: fastrand::Rng,
    pub(super) imds: f64,
    pub(super) token: f64,
}

impl Failing {
    pub(super) fn next(&mut self, leg: Leg) -> Option<ScriptedResponse> {
        let probability = match leg {
            Leg::Token => self.token,
            Leg::Metadata | Leg::Issue => self.imds,
            _ => 0.0,
        };
        (self.source.f64() < probability).then(|| ScriptedResponse {
            status: Some([500, 503, 429, 404][self.source.usize(..4)]),
            ..ScriptedResponse::default()
        })
    }
}
