use crate::faults::{Action, Leg};
use crate::peer::Peer;
use bytes::Bytes;
use http::Request;
use keybound_core::{X5tS256, redact};
use serde::Serialize;
use std::collections::BTreeMap;

/// The record of a request, without tokens, `Authorization` values, bodies and values of unknown query parameters.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Record {
    /// The number of the request over all services, from 1.
    pub sequence: u64,
    /// The time of the request, in milliseconds since 1970 by the emulated clock.
    pub unix_ms: u64,
    /// The leg, as in faults: the step of the flow, the source or the resource, or `unknown`.
    pub leg: &'static str,
    /// The HTTP method.
    pub method: String,
    /// The path, at most 1024 bytes of it.
    pub path: String,
    /// The query, at most 1024 bytes of it; values of unknown parameters are redacted.
    pub query: String,
    /// The relevant headers, by lower-case name; of `Authorization` only the scheme.
    pub headers: BTreeMap<String, String>,
    /// Length of the request's body, in bytes.
    pub body_bytes: usize,
    /// `TLSv1.2` or `TLSv1.3`; `None` on plain HTTP.
    pub tls_version: Option<&'static str>,
    /// `x5t#S256` of the certificate that the client presented on the connection, if any.
    pub client_certificate: Option<String>,
    /// The fault that was applied.
    pub fault: Option<String>,
    /// The status of the response; `None` if there is none, or none yet.
    pub status: Option<u16>,
    /// Notes of the service, such as the error and the requested resource.
    pub notes: BTreeMap<&'static str, String>,
}

impl Record {
    /// The record of a request without its response.
    pub(crate) fn new(
        unix_ms: u64,
        leg: Leg,
        peer: &Peer,
        request: &Request<Bytes>,
        fault: Option<&Action>,
    ) -> Self {
        let certificate = peer.client_certificate.as_deref();
        Self {
            sequence: 0,
            unix_ms,
            leg: leg.as_str(),
            method: request.method().to_string(),
            path: shorten(request.uri().path()),
            query: shorten(&redact_query(request.uri().query().unwrap_or_default())),
            headers: recorded_headers(request),
            body_bytes: request.body().len(),
            tls_version: peer.tls_version,
            client_certificate: certificate.map(|der| X5tS256::of_der(der).to_string()),
            fault: fault.map(|action| shorten(&redact(&action.to_string()))),
            status: None,
            notes: BTreeMap::new(),
        }
    }

    /// Logs the completed request.
    pub(crate) fn log(&self) {
        let Self { method, path, .. } = self;
        let fault = self.fault.as_deref();
        let refused = self.notes.get("refused").map(String::as_str);
        tracing::info!(leg = self.leg, %method, %path, status = self.status, fault, refused, "request handled");
    }
}

fn recorded_headers(request: &Request<Bytes>) -> BTreeMap<String, String> {
    let mut recorded = BTreeMap::new();
    for name in RECORDED_HEADERS {
        if let Some(value) = request.headers().get(*name) {
            let text = String::from_utf8_lossy(value.as_bytes());
            recorded.insert((*name).to_owned(), shorten(&text));
        }
    }
    if let Some(value) = request.headers().get(http::header::AUTHORIZATION) {
        recorded.insert("authorization".into(), scheme_only(value.as_bytes()));
    }
    recorded
}

/// `mtls_pop …`: the scheme if it is known, so that a token without a scheme is not recorded.
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

/// Redacts the values of unknown parameters, and parts without a name, which could be anything.
fn redact_query(query: &str) -> String {
    let redact = |part: &str| match part.split_once('=') {
        Some((name, _)) if RECORDED_QUERY.contains(&name) => part.to_owned(),
        Some((name, _)) => format!("{name}={REDACTED}"),
        None if part.is_empty() => String::new(),
        None => REDACTED.to_owned(),
    };
    let parts: Vec<_> = query.split('&').map(redact).collect();
    parts.join("&")
}

pub(crate) fn shorten(text: &str) -> String {
    if text.len() <= MAX_TEXT_BYTES {
        return text.to_owned();
    }
    let mut end = MAX_TEXT_BYTES;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

const RECORDED_HEADERS: &[&str] = &[
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

const RECORDED_QUERY: &[&str] = &[
    "api-version",
    "bypass_cache",
    "client_id",
    "clientid",
    "cred-api-version",
    "format",
    "mi_res_id",
    "msi_res_id",
    "object_id",
    "principal_id",
    "principalId",
    "resource",
    "token_sha256_to_refresh",
    "xms_cc",
    "$top",
];

const SCHEMES: &[&str] = &["mtls_pop", "Bearer", "Basic", "pop"];
const REDACTED: &str = "…";
/// Maximum length of a text, in bytes.
pub(crate) const MAX_TEXT_BYTES: usize = 1024;
