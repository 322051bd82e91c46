//! The control endpoint: its page, and with the secret records, faults, the clock and Entra's keys. All other requests without the secret fail
//! with 404, on any path.
mod overview;
mod page;
mod signing_keys;
#[cfg(test)]
mod tests;

use crate::faults::{Fault, Leg};
use crate::response::{Response, json_response, not_found, oauth_error};
use crate::state::State;
use bytes::Bytes;
use http::{Method, Request, header};
use serde::Deserialize;
use serde_json::{Value, json};

/// Handles a request to the control endpoint.
pub(crate) async fn respond(state: &State, request: &Request<Bytes>) -> Response {
    if page::is_requested(request) {
        return page::response();
    }
    let authorization = request.headers().get(header::AUTHORIZATION);
    if !state.control_secret.matches(authorization) {
        return not_found();
    }
    let body = request.body();
    let query = request.uri().query().unwrap_or_default();
    let result = match (request.method(), request.uri().path()) {
        (&Method::GET, "/records") => records(state, query),
        (
            _,
            "/overview" | "/counts" | "/faults" | "/clock" | "/keys" | "/keys/rotate"
            | "/keys/retire" | "/reset",
        ) if !query.is_empty() => Err("this endpoint takes no query parameters".to_owned()),
        (&Method::GET, "/overview") => overview::overview(state),
        (&Method::GET, "/counts") => Ok(json!({"counts": state.records.counts()})),
        (&Method::GET, "/faults") => Ok(faults(state)),
        (&Method::POST, "/faults") => add_faults(state, body),
        (&Method::DELETE, "/faults") => {
            state.faults.clear();
            Ok(faults(state))
        }
        (&Method::GET, "/clock") => Ok(clock(state)),
        (&Method::POST, "/clock") => advance(state, body),
        (&Method::GET, "/keys") => signing_keys::list(state).await,
        (&Method::POST, "/keys/rotate") => signing_keys::rotate(state, body).await,
        (&Method::POST, "/keys/retire") => signing_keys::retire(state, body).await,
        (&Method::POST, "/reset") => reset(state, body),
        _ => return not_found(),
    };
    match result {
        Ok(body) => json_response(200, &body),
        Err(problem) => oauth_error(400, "invalid_request", &problem),
    }
}

/// The records, oldest first; with `leg=`, those of one leg. An unknown leg is an error, so that a mistyped leg does not look
/// like a leg without requests.
fn records(state: &State, query: &str) -> Result<Value, String> {
    let leg = leg_of(query)?;
    let mut records = state.records.all();
    records.retain(|record| leg.is_none_or(|leg| record.leg == leg));
    Ok(json!({"records": records}))
}

/// The leg in a query, if any.
pub(crate) fn leg_of(query: &str) -> Result<Option<&'static str>, String> {
    let mut leg = None;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name != "leg" || leg.is_some() {
            return Err("expected at most one parameter, leg".to_owned());
        }
        let known = recorded_legs().find(|leg| *leg == value);
        leg = Some(known.ok_or_else(|| {
            let known: Vec<_> = recorded_legs().collect();
            format!("no such leg in the records; known: {}", known.join(", "))
        })?);
    }
    Ok(leg)
}

/// Handshakes are counted, not recorded.
fn recorded_legs() -> impl Iterator<Item = &'static str> {
    let requests = Leg::ALL.into_iter().filter(|leg| !leg.is_handshake());
    requests.chain([Leg::Unknown]).map(Leg::as_str)
}

fn reset(state: &State, body: &[u8]) -> Result<Value, String> {
    expect_empty(body)?;
    state.reset();
    Ok(json!({}))
}

fn faults(state: &State) -> Value {
    let waiting: Vec<_> = state
        .faults
        .pending()
        .iter()
        .map(Fault::to_string)
        .collect();
    json!({"faults": waiting})
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AddFaults {
    faults: Vec<String>,
}

fn add_faults(state: &State, body: &[u8]) -> Result<Value, String> {
    let added: AddFaults = read(body, r#"{"faults": ["LEG=ACTION[:ARG][*COUNT]"]}"#)?;
    let added = Fault::parse_all(&added.faults).and_then(|faults| state.faults.add(faults));
    added.map_err(|error| error.to_string())?;
    Ok(faults(state))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_seconds: i64,
}

fn advance(state: &State, body: &[u8]) -> Result<Value, String> {
    let advance: Advance = read(body, r#"{"advance_seconds": NUMBER}"#)?;
    state.clock.advance(advance.advance_seconds);
    Ok(clock(state))
}

fn clock(state: &State) -> Value {
    json!({"unix": state.clock.unix(), "offset_seconds": state.clock.offset_seconds()})
}

fn expect_empty(body: &[u8]) -> Result<(), String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct EmptyObject {}

    if body.is_empty() {
        return Ok(());
    }
    read::<EmptyObject>(body, "no body, or {}").map(|_| ())
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8], form: &str) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("expected {form}: {error}"))
}
