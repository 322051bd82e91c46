use super::request_text;
use crate::apis::Api;
use crate::check::{Check, Denial};
use der::DateTime;
use keybound_core::printable;
use keybound_resource::Caller;
use serde::Serialize;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A line.
#[derive(Serialize)]
pub(crate) struct Entry<'a> {
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    api: Option<&'a str>,
    host: String,
    method: String,
    /// Without what looks like a secret.
    path: String,
    decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<String>,
    /// The start of the thumbprint of the connection's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<&'a str>,
}

impl<'a> Entry<'a> {
    pub(crate) fn new(
        check: &Check<'a>,
        api: Option<&'a Api>,
        decided: &Result<&'a Arc<Caller>, &Denial>,
    ) -> Self {
        let caller = decided.as_ref().ok();
        let denial = decided.as_ref().err();
        let certificate = check.certificate.as_ref().ok().and_then(Option::as_ref);
        Self {
            time: now(),
            api: api.map(|api| &*api.name),
            host: request_text::host(check.host),
            method: request_text::method(check.method),
            path: request_text::path(check.path),
            decision: if caller.is_some() {
                "allowed"
            } else {
                "denied"
            },
            status: denial.map(|denial| denial.status()),
            reason: denial.map(|denial| denial.reason().code()),
            tenant: caller.map(|caller| caller.tenant().as_str()),
            client: caller.map(|caller| printable(caller.client(), MAX_CLAIM)),
            object: caller.and_then(|caller| Some(caller.object()?.as_str())),
            token_id: caller.and_then(|caller| Some(printable(caller.token_id()?, MAX_CLAIM))),
            certificate: certificate.map(|presented| &presented.thumbprint().as_str()[..8]),
        }
    }
}

/// As RFC 3339 in UTC, with milliseconds.
pub(super) fn now() -> String {
    #[expect(clippy::disallowed_methods, reason = "the time of a log line")]
    let now = SystemTime::now();
    let since = now.duration_since(SystemTime::UNIX_EPOCH);
    let since = since.unwrap_or(Duration::ZERO);
    let seconds = DateTime::from_unix_duration(Duration::from_secs(since.as_secs()));
    let text = seconds.map_or_else(|_| String::new(), |time| time.to_string());
    let text = text.strip_suffix('Z').unwrap_or(&text);
    format!("{text}.{:03}Z", since.subsec_millis())
}

const MAX_CLAIM: usize = 256;
