//! The attestation service, for simulated keys only.
#[cfg(test)]
mod tests;

use crate::call::Call;
use crate::evidence;
use crate::faults::{ATTEST_PATH, Action};
use crate::response::{Response, allow, azure_error, json_response, not_found};
use crate::service::Service;
use crate::signing_key::JwtSigner;
use crate::state::State;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use std::io;

/// Handles a request to the attestation service.
pub(crate) async fn respond(state: &State, call: &mut Call) -> Response {
    let allowed = match call.request.uri().path() {
        ATTEST_PATH => Method::POST,
        KEYS_PATH | DISCOVERY_PATH => Method::GET,
        _ => return not_found(),
    };
    if call.request.method() != allowed {
        let message = "the method is not allowed for this resource";
        return allow(azure_error(405, "MethodNotAllowed", message), &allowed);
    }
    let result = match call.request.uri().path() {
        ATTEST_PATH => attest(state, call).await,
        KEYS_PATH => keys(state, call.fault.as_ref()).await,
        _ => Ok(discovery(state)),
    };
    result.unwrap_or_else(|_| azure_error(500, "InternalError", "the token could not be signed"))
}

/// The value of `x-ms-attestation-type` in all attestation tokens of this service.
pub(crate) const SIMULATED: &str = "simulated";

async fn attest(state: &State, call: &mut Call) -> io::Result<Response> {
    let audience = state.endpoints.origin(Service::Maa);
    let checked = read_request(call)
        .and_then(|request| evidence::check(&request.evidence, audience, &state.used_nonces));
    let mut key = match checked {
        Ok(key) => key,
        Err(problem) => {
            call.note("refused", problem);
            return Ok(azure_error(400, "InvalidParameter", problem));
        }
    };
    let foreign = state.keys.foreign.get();
    let (mut issued_at, mut signer) = (state.clock.unix(), state.keys.maa.get().await?);
    match &call.fault {
        Some(Action::GarbageToken) => {
            return Ok(json_response(200, &json!({"token": "this is not a JWT"})));
        }
        Some(Action::ExpiredToken) => issued_at = issued_at.saturating_sub(2 * LIFETIME),
        Some(Action::ForeignKey) => signer = foreign.await?,
        Some(Action::OtherKey) => key = foreign.await?.public_jwk().clone(),
        _ => (),
    }
    let token = token(audience, issued_at, &key, signer)?;
    Ok(json_response(200, &json!({"token": token})))
}

#[derive(Deserialize)]
struct AttestRequest {
    evidence: String,
}

fn read_request(call: &Call) -> Result<AttestRequest, &'static str> {
    if call.request.body().len() > MAX_BODY_BYTES {
        return Err("the body is longer than 64 KiB");
    }
    serde_json::from_slice(call.request.body())
        .map_err(|_| "the body is not JSON with the evidence of a simulated key")
}

fn token(issuer: &str, issued_at: u64, key: &Value, signer: &JwtSigner) -> io::Result<String> {
    signer.sign(&json!({
        "iss": issuer,
        "iat": issued_at,
        "nbf": issued_at,
        "exp": issued_at + LIFETIME,
        "jti": uuid::Uuid::new_v4().to_string(),
        "x-ms-ver": "1.0",
        "x-ms-attestation-type": SIMULATED,
        "simulated": true,
        "x-ms-runtime": {"keys": [key]},
    }))
}

async fn keys(state: &State, fault: Option<&Action>) -> io::Result<Response> {
    let key = match fault {
        Some(Action::ForeignKey) => &state.keys.foreign,
        _ => &state.keys.maa,
    };
    let mut keys = key.get().await?.jwks();
    if fault == Some(&Action::OtherKey) {
        keys["keys"][0]["n"] = state.keys.foreign.get().await?.public_jwk()["n"].clone();
    }
    Ok(json_response(200, &keys))
}

fn discovery(state: &State) -> Response {
    let issuer = state.endpoints.origin(Service::Maa);
    let body = json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}{KEYS_PATH}"),
        "response_types_supported": ["token"],
        "id_token_signing_alg_values_supported": ["RS256"],
    });
    json_response(200, &body)
}

const KEYS_PATH: &str = "/certs";
const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";
/// Eight hours, in seconds.
const LIFETIME: u64 = 8 * 3600;
const MAX_BODY_BYTES: usize = 64 * 1024;
