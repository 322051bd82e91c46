//! The scripted responses of the services.
use super::Leg;
use super::sources::KeyFile;
use keybound_transport::TransportErrorKind;
use serde::Deserialize;
use std::time::Duration;

/// The responses of each leg in order, and rules for a time or a certificate, which take precedence. The default is success.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Script {
    metadata: Vec<ScriptedResponse>,
    issue: Vec<ScriptedResponse>,
    attest: Vec<ScriptedResponse>,
    token: Vec<ScriptedResponse>,
    challenge: Vec<ScriptedResponse>,
    source: Vec<ScriptedResponse>,
    rules: Vec<Rule>,
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
    pub(super) status: Option<u16>,
    pub(super) retry_after: Option<u64>,
    /// Seconds from now, sent as a date.
    pub(super) retry_after_date: Option<u64>,
    /// Whether that date is by the service's clock, which the response has in `Date`; otherwise it is by the host's.
    pub(super) dated: bool,
    /// The whole body. Default with a status other than 200: empty.
    pub(super) body: Option<serde_json::Value>,
    /// The whole body, if it is not JSON.
    pub(super) text: Option<String>,
    /// Whether the body starts with a byte order mark.
    pub(super) byte_order_mark: bool,
    /// Members that differ from the correct response.
    pub(super) members: serde_json::Map<String, serde_json::Value>,
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

/// What a response depends on.
pub(super) struct RequestContext<'a> {
    pub(super) leg: Leg,
    pub(super) certificate: Option<usize>,
    pub(super) resource: Option<&'a str>,
}

impl ScriptedResponse {
    /// The scripted body, if there is one.
    pub(super) fn scripted_body(&self) -> Option<String> {
        let text = self.text.clone();
        text.or_else(|| self.body.as_ref().map(|body| self.serialize(body)))
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

    /// A response with this status.
    pub(super) fn status(status: u16) -> Self {
        Self {
            status: Some(status),
            ..Self::default()
        }
    }
}

impl Script {
    /// The next response.
    pub(super) fn next(
        &mut self,
        request: &RequestContext<'_>,
        elapsed: Duration,
    ) -> ScriptedResponse {
        let elapsed = elapsed.as_secs_f64();
        let rule = self
            .rules
            .iter()
            .find(|rule| rule.applies(request, elapsed));
        if let Some(rule) = rule {
            return rule.response.clone();
        }
        let list = self.list(request.leg);
        let Some(first) = list.first_mut() else {
            return ScriptedResponse::default();
        };
        let response = first.clone();
        match &mut first.times {
            Some(times) if *times > 1 => *times -= 1,
            _ => {
                list.remove(0);
            }
        }
        response
    }

    /// The number of scripted responses that were not sent.
    pub(super) fn unused(&self) -> usize {
        let lists = [
            &self.metadata,
            &self.issue,
            &self.attest,
            &self.token,
            &self.challenge,
            &self.source,
        ];
        lists.iter().map(|list| list.len()).sum()
    }

    fn list(&mut self, leg: Leg) -> &mut Vec<ScriptedResponse> {
        match leg {
            Leg::Metadata => &mut self.metadata,
            Leg::Issue => &mut self.issue,
            Leg::Attest => &mut self.attest,
            Leg::Token => &mut self.token,
            Leg::Challenge => &mut self.challenge,
            Leg::Source => &mut self.source,
        }
    }
}

impl Rule {
    fn applies(&self, request: &RequestContext<'_>, elapsed: f64) -> bool {
        let certificate = |numbers: &Vec<usize>| {
            request
                .certificate
                .is_some_and(|certificate| numbers.contains(&certificate))
        };
        self.leg == request.leg
            && self.from.is_none_or(|from| elapsed >= from)
            && self.until.is_none_or(|until| elapsed < until)
            && self.certificates.as_ref().is_none_or(certificate)
            && self
                .resource
                .as_ref()
                .is_none_or(|resource| request.resource == Some(resource))
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
