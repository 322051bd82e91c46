use crate::LoggedDecisions;
use crate::apis::Api;
use crate::check::{Check, Denial};
use der::DateTime;
use keybound_core::printable;
use keybound_resource::Caller;
use serde::Serialize;
use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

/// The log of decisions: one JSON object a line. Neither tokens nor what a token claims before it was verified are in it.
///
/// A thread writes it. If its reader is too slow, lines are dropped and counted: requests do not wait.
#[derive(Clone)]
pub struct DecisionLog {
    decisions: LoggedDecisions,
    lines: Option<SyncSender<String>>,
}

/// A line.
#[derive(Serialize)]
pub(crate) struct Entry<'a> {
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    api: Option<&'a str>,
    host: String,
    method: String,
    /// Without the query, which may have secrets.
    path: String,
    decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<&'a str>,
    /// The start of the thumbprint of the connection's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<&'a str>,
}

impl DecisionLog {
    /// Writes to a file or a stream.
    pub fn new(decisions: LoggedDecisions, mut output: impl Write + Send + 'static) -> Self {
        let (sender, lines) = sync_channel::<String>(MAX_WAITING);
        let writer = std::thread::Builder::new().name("decision log".to_owned());
        let started = writer.spawn(move || {
            for line in lines {
                // A reader that has gone ends no requests.
                let _ = output.write_all(line.as_bytes());
                let _ = output.flush();
            }
        });
        Self {
            decisions,
            lines: started.is_ok().then_some(sender),
        }
    }

    /// Logs nothing.
    pub fn none() -> Self {
        Self {
            decisions: LoggedDecisions::None,
            lines: None,
        }
    }

    pub(crate) fn records(&self, denied: bool) -> bool {
        match self.decisions {
            LoggedDecisions::All => true,
            LoggedDecisions::Denied => denied,
            LoggedDecisions::None => false,
        }
    }

    /// Writes a line. The number of lines that were dropped.
    pub(crate) fn write(&self, entry: &Entry<'_>) -> u64 {
        let written = serde_json::to_string(entry).ok().and_then(|line| {
            let lines = self.lines.as_ref()?;
            lines.try_send(line + "\n").ok()
        });
        u64::from(written.is_none())
    }
}

impl fmt::Debug for DecisionLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecisionLog")
            .field("decisions", &self.decisions)
            .finish_non_exhaustive()
    }
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
        let path = check.path.split(['?', '#']).next().unwrap_or_default();
        Self {
            time: now(),
            api: api.map(|api| &*api.name),
            host: printable(check.host, MAX_HOST),
            method: printable(check.method, MAX_METHOD),
            path: printable(path, MAX_PATH),
            decision: if caller.is_some() {
                "allowed"
            } else {
                "denied"
            },
            status: denial.map(|denial| denial.status()),
            reason: denial.map(|denial| denial.reason().code()),
            tenant: caller.map(|caller| caller.tenant().as_str()),
            client: caller.map(|caller| caller.client()),
            object: caller.and_then(|caller| Some(caller.object()?.as_str())),
            token_id: caller.and_then(|caller| caller.token_id()),
            certificate: certificate.map(|presented| &presented.thumbprint().as_str()[..8]),
        }
    }
}

/// As RFC 3339 in UTC, with milliseconds.
fn now() -> String {
    #[expect(clippy::disallowed_methods, reason = "the time of a log line")]
    let now = SystemTime::now();
    let since = now.duration_since(SystemTime::UNIX_EPOCH);
    let since = since.unwrap_or(Duration::ZERO);
    let seconds = DateTime::from_unix_duration(Duration::from_secs(since.as_secs()));
    let text = seconds.map_or_else(|_| String::new(), |time| time.to_string());
    let text = text.strip_suffix('Z').unwrap_or(&text);
    format!("{text}.{:03}Z", since.subsec_millis())
}

const MAX_WAITING: usize = 4096;
const MAX_HOST: usize = 253;
const MAX_METHOD: usize = 32;
const MAX_PATH: usize = 1024;
