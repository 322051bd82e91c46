//! The control endpoint: what was asked of the emulator, what is to go wrong, and the clock. Whoever does not know the
//! secret is told nothing, not even what is there.
#[cfg(test)]
mod tests;

use crate::exchange::{Answer, json_answer, not_found};
use crate::faults::Fault;
use crate::state::State;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use openssl::error::ErrorStack;
use openssl::memcmp;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt;

/// What opens the control endpoint: 256 random bits in hexadecimal, new at each start.
pub(crate) struct ControlSecret(String);

impl ControlSecret {
    /// A new one.
    ///
    /// # Errors
    /// Where the host has no randomness to give.
    pub fn random() -> Result<Self, ErrorStack> {
        let mut bytes = [0; 32];
        openssl::rand::rand_bytes(&mut bytes)?;
        Ok(Self(
            bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        ))
    }

    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether an `Authorization` header holds it, found out in constant time.
    fn opens(&self, header: Option<&HeaderValue>) -> bool {
        let given = header.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        let own = self.0.as_bytes();
        given.is_some_and(|given| given.len() == own.len() && memcmp::eq(given, own))
    }
}

impl fmt::Debug for ControlSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ControlSecret(…)")
    }
}

/// Answers a request to the control endpoint.
pub(crate) fn answer(state: &State, request: &Request<Bytes>) -> Answer {
    if !state
        .control_secret
        .opens(request.headers().get(header::AUTHORIZATION))
    {
        return not_found();
    }
    let body = request.body();
    let answered = match (request.method(), request.uri().path()) {
        (&Method::GET, "/records") => Ok(records(state, request.uri().query().unwrap_or_default())),
        (&Method::GET, "/counts") => Ok(json!({"counts": state.records.counts()})),
        (&Method::GET, "/faults") => Ok(faults(state)),
        (&Method::POST, "/faults") => add_faults(state, body),
        (&Method::DELETE, "/faults") => {
            state.faults.clear();
            Ok(faults(state))
        }
        (&Method::GET, "/clock") => Ok(clock(state)),
        (&Method::POST, "/clock") => advance(state, body),
        (&Method::POST, "/reset") => {
            state.reset();
            Ok(json!({}))
        }
        _ => return not_found(),
    };
    match answered {
        Ok(body) => json_answer(200, &body),
        Err(why) => json_answer(
            400,
            &json!({"error": "invalid_request", "error_description": why}),
        ),
    }
}

/// The records, oldest first; of one leg where `leg=` names it.
fn records(state: &State, query: &str) -> Value {
    let leg = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "leg");
    let mut records = state.records.all();
    if let Some((_, leg)) = leg {
        records.retain(|record| record.leg == leg);
    }
    json!({"records": records})
}

fn faults(state: &State) -> Value {
    let waiting: Vec<_> = state
        .faults
        .waiting()
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

fn read<'a, T: Deserialize<'a>>(body: &'a [u8], form: &str) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("expected {form}: {error}"))
}
