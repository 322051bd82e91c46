use crate::faults::{Action, Leg};
use crate::peer::Peer;
use bytes::Bytes;
use http::Request;
use keybound_core::lock;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

/// The record of a request. Tokens, `Authorization` values, bodies and unknown query values are not part of it.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Record {
    /// Counts up from 1, over all services.
    pub sequence: u64,
    /// The time of the request, in milliseconds since 1970 by the emulated clock.
    pub unix_ms: u64,
    /// The step of the flow: probe, metadata, issue, instance, attest, token, discovery, vault, graph, or unknown.
    pub leg: &'static str,
    /// The HTTP method.
    pub method: String,
    /// The path, at most 1024 bytes of it.
    pub path: String,
    /// The query, at most 1024 bytes of it; values of parameters that are not known are left out.
    pub query: String,
    /// Headers that matter, by lower-case name; of `Authorization` the scheme only.
    pub headers: BTreeMap<String, String>,
    /// Length of the request's body, in bytes.
    pub body_bytes: usize,
    /// `TLSv1.2` or `TLSv1.3`; `None` on plain HTTP.
    pub tls_version: Option<&'static str>,
    /// `x5t#S256` of the certificate that the client presented on the connection, if any.
    pub client_certificate: Option<String>,
    /// The fault that was applied.
    pub fault: Option<String>,
    /// The status of the response; `None` where there is none, or not yet.
    pub status: Option<u16>,
    /// Notes of the service: the text of a refusal, the requested scope.
    pub notes: BTreeMap<&'static str, String>,
}

impl Record {
    /// For subscribers.
    fn log(&self) {
        let Self { method, path, .. } = self;
        let fault = self.fault.as_deref();
        let refused = self.notes.get("refused").map(String::as_str);
        tracing::info!(leg = self.leg, %method, %path, status = self.status, fault, refused, "answered");
    }
}

/// The last requests, and the number of requests on each leg.
#[derive(Debug, Default)]
pub(crate) struct Records(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    last_sequence: u64,
    records: VecDeque<Record>,
    counts: BTreeMap<&'static str, u64>,
}

impl Records {
    /// Records a request; the number is for [`finish`](Self::finish).
    pub fn begin(
        &self,
        unix_ms: u64,
        leg: Leg,
        peer: &Peer,
        request: &Request<Bytes>,
        fault: Option<&Action>,
    ) -> u64 {
        let mut log = lock(&self.0);
        log.last_sequence += 1;
        let sequence = log.last_sequence;
        *log.counts.entry(leg.as_str()).or_default() += 1;
        if log.records.len() == MAX_RECORDS {
            log.records.pop_front();
        }
        log.records.push_back(Record {
            sequence,
            unix_ms,
            leg: leg.as_str(),
            method: request.method().to_string(),
            path: shortened(request.uri().path()),
            query: shortened(&redacted_query(request.uri().query().unwrap_or_default())),
            headers: recorded_headers(request),
            body_bytes: request.body().len(),
            tls_version: peer.tls_version,
            client_certificate: peer
                .client_certificate
                .as_deref()
                .map(|der| keybound_core::X5tS256::of_der(der).to_string()),
            fault: fault.map(|action| shortened(&keybound_core::redact(&action.to_string()))),
            status: None,
            notes: BTreeMap::new(),
        });
        sequence
    }

    /// Counts a new TLS connection, under the leg of its handshakes.
    pub fn count_connection(&self, leg: Leg) {
        *lock(&self.0).counts.entry(leg.as_str()).or_default() += 1;
    }

    /// Adds the response to the record of a request, if it is still stored.
    pub fn finish(
        &self,
        sequence: u64,
        status: Option<u16>,
        notes: BTreeMap<&'static str, String>,
    ) {
        // Logged without the lock: a subscriber may read the records.
        if let Some(record) = self.complete(sequence, status, notes) {
            record.log();
        }
    }

    fn complete(
        &self,
        sequence: u64,
        status: Option<u16>,
        notes: BTreeMap<&'static str, String>,
    ) -> Option<Record> {
        let mut log = lock(&self.0);
        let found = |record: &&mut Record| record.sequence == sequence;
        let record = log.records.iter_mut().rev().find(found)?;
        record.status = status;
        record.notes = notes
            .into_iter()
            .map(|(name, value)| (name, shortened(&value)))
            .collect();
        Some(record.clone())
    }

    /// The last 1000 requests, oldest first.
    pub fn all(&self) -> Vec<Record> {
        lock(&self.0).records.iter().cloned().collect()
    }

    /// The number of requests on each leg since the start or the last [`clear`](Self::clear), stored or not.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.0).counts.clone()
    }

    /// Removes all records. The numbering continues.
    pub fn clear(&self) {
        let mut log = lock(&self.0);
        log.records.clear();
        log.counts.clear();
    }
}

fn recorded_headers(request: &Request<Bytes>) -> BTreeMap<String, String> {
    let mut recorded = BTreeMap::new();
    for name in KEPT_HEADERS {
        if let Some(value) = request.headers().get(*name) {
            let text = String::from_utf8_lossy(value.as_bytes());
            recorded.insert((*name).to_owned(), shortened(&text));
        }
    }
    if let Some(value) = request.headers().get(http::header::AUTHORIZATION) {
        recorded.insert("authorization".into(), scheme_only(value.as_bytes()));
    }
    recorded
}

/// `mtls_pop …`: the scheme if it is a known one, so that a token without a scheme is not stored.
fn scheme_only(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    let first = text.split(' ').next().unwrap_or_default();
    let known = SCHEMES
        .iter()
        .find(|scheme| scheme.eq_ignore_ascii_case(first));
    format!("{} {REDACTED}", known.copied().unwrap_or_default())
        .trim_start()
        .to_owned()
}

fn redacted_query(query: &str) -> String {
    let redact = |part: &str| {
        let (name, _) = part.split_once('=')?;
        let known = KEPT_QUERY.contains(&name);
        (!known).then(|| format!("{name}={REDACTED}"))
    };
    let parts: Vec<String> = query
        .split('&')
        .map(|part| match redact(part) {
            Some(redacted) => redacted,
            None if part.contains('=') => part.to_owned(),
            // Without a name it could be anything.
            None if part.is_empty() => String::new(),
            None => REDACTED.to_owned(),
        })
        .collect();
    parts.join("&")
}

fn shortened(text: &str) -> String {
    if text.len() <= MAX_TEXT_BYTES {
        return text.to_owned();
    }
    let mut end = MAX_TEXT_BYTES;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

const KEPT_HEADERS: &[&str] = &[
    "accept",
    "content-type",
    "host",
    "metadata",
    "user-agent",
    "x-forwarded-for",
    "x-ms-client-request-id",
    "x-ms-correlation-id",
    "x-ms-tokenboundauth",
];

const KEPT_QUERY: &[&str] = &[
    "api-version",
    "bypass_cache",
    "client_id",
    "cred-api-version",
    "format",
    "mi_res_id",
    "msi_res_id",
    "object_id",
    "$top",
];

const SCHEMES: &[&str] = &["mtls_pop", "Bearer", "Basic", "pop"];
const REDACTED: &str = "…";
const MAX_RECORDS: usize = 1000;
/// Longest text of a member, in bytes.
const MAX_TEXT_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> Peer {
        Peer {
            client_certificate: Some(b"der".to_vec()),
            tls_version: Some("TLSv1.2"),
        }
    }

    fn request(uri: &str, headers: &[(&str, &str)]) -> Request<Bytes> {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request
            .body(Bytes::from_static(b"attestation_token=s3cret"))
            .unwrap()
    }

    #[test]
    fn secrets_stay_out_of_records() {
        let records = Records::default();
        let uri = "https://127.0.0.1:1/secrets/a?api-version=7.4&access_token=s3cret&s3cret";
        let headers = [
            ("authorization", "mtls_pop s3cret"),
            ("cookie", "s3cret"),
            ("x-ms-tokenboundauth", "true"),
        ];
        records.begin(0, Leg::Vault, &peer(), &request(uri, &headers), None);
        let bare = request("/", &[("authorization", "s3cret")]);
        records.begin(0, Leg::Vault, &peer(), &bare, None);
        let stored = records.all();
        assert_eq!(stored[0].query, "api-version=7.4&access_token=…&…");
        assert_eq!(stored[0].headers["authorization"], "mtls_pop …");
        assert_eq!(stored[0].headers["x-ms-tokenboundauth"], "true");
        assert_eq!(stored[1].headers["authorization"], "…");
        let shown = format!("{stored:?}{}", serde_json::to_string(&stored).unwrap());
        assert!(!shown.contains("s3cret"), "{shown}");
    }

    #[test]
    fn records_are_bounded_and_counts_go_on() {
        let records = Records::default();
        for _ in 0..MAX_RECORDS + 5 {
            records.begin(0, Leg::Token, &peer(), &request("/", &[]), None);
        }
        let stored = records.all();
        assert_eq!(stored.len(), MAX_RECORDS);
        assert_eq!(stored[0].sequence, 6);
        assert_eq!(records.counts()["token"], MAX_RECORDS as u64 + 5);
        records.clear();
        assert!(records.all().is_empty() && records.counts().is_empty());
    }

    #[test]
    fn an_answer_is_added_to_its_request() {
        let records = Records::default();
        let first = records.begin(
            0,
            Leg::Token,
            &peer(),
            &request("/", &[]),
            Some(&Action::NoCnf),
        );
        records.begin(0, Leg::Token, &peer(), &request("/", &[]), None);
        records.finish(
            first,
            Some(400),
            BTreeMap::from([("refused", "é".repeat(1024))]),
        );
        let stored = records.all();
        assert_eq!((stored[0].status, stored[1].status), (Some(400), None));
        assert_eq!(stored[0].fault.as_deref(), Some("no-cnf"));
        assert!(stored[0].notes["refused"].len() <= MAX_TEXT_BYTES + 3);
        assert_eq!(stored[0].client_certificate.as_ref().unwrap().len(), 43);
    }
}
