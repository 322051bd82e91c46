//! The simulated Key Vault: secrets, for clients that prove possession of the key to which their token is bound, and unless it is
//! configured otherwise for those with bearer tokens.
mod responses;
#[cfg(test)]
mod tests;

use crate::call::Call;
use crate::entra::token_check::{AcceptedToken, check};
use crate::faults::Action;
use crate::response::{Response, json_response};
use crate::secrets::SetError;
use crate::service::Service;
use crate::state::State;
use http::Method;
use responses::{bad_parameter, secret_bundle, secret_item};
use serde_json::{Value, json};

pub(crate) async fn respond(state: &State, call: &mut Call) -> Response {
    let token = match check(state, call, AUDIENCE) {
        Ok(token) => token,
        Err(problem) => return responses::token_rejected(state, call, problem),
    };
    if !state.config.vault.bearer_tokens && token == AcceptedToken::Bearer {
        return responses::bearer_rejected(state, call);
    }
    if let Some(Action::ClaimsChallenge(claims)) = &call.fault {
        return responses::claims_challenged(state, claims.as_deref());
    }
    if !has_api_version(call) {
        return bad_parameter("api-version must be specified, as in api-version=7.4");
    }
    let path = call.request.uri().path().to_owned();
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let method = call.request.method().clone();
    match (method, segments.as_slice()) {
        (Method::GET, ["secrets"]) => list(state),
        (Method::GET, ["secrets", name]) => get(state, name, None),
        (Method::GET, ["secrets", name, version]) => get(state, name, Some(version)),
        (Method::PUT, ["secrets", name]) => set(state, name, call.request.body()),
        (_, ["secrets", ..]) => responses::method_not_allowed(),
        _ => responses::no_such_path(),
    }
}

fn has_api_version(call: &Call) -> bool {
    let query = call.request.uri().query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes())
        .any(|(name, value)| name == "api-version" && is_api_version(&value))
}

/// `7.4`, or a date with or without `-preview.N`.
fn is_api_version(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-';
    text.len() <= 32
        && text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(known)
}

fn get(state: &State, name: &str, version: Option<&str>) -> Response {
    match state.secrets.get(name, version) {
        Some(found) => json_response(200, &secret_bundle(&base(state), name, &found)),
        None => responses::secret_not_found(),
    }
}

fn list(state: &State) -> Response {
    let base = base(state);
    let items: Vec<Value> = state
        .secrets
        .newest()
        .iter()
        .map(|(name, version)| secret_item(&base, name, version))
        .collect();
    json_response(200, &json!({"value": items, "nextLink": null}))
}

fn set(state: &State, name: &str, body: &[u8]) -> Response {
    let value = serde_json::from_slice::<Value>(body)
        .ok()
        .and_then(|body| body.get("value")?.as_str().map(str::to_owned));
    let Some(value) = value else {
        return bad_parameter("the body must be JSON with a text 'value'");
    };
    match state.secrets.set(name, value, state.clock.unix()) {
        Ok(version) => json_response(200, &secret_bundle(&base(state), name, &version)),
        Err(SetError::Name) => bad_parameter("a name has 1 to 127 letters, digits and dashes"),
        Err(SetError::TooLong) => bad_parameter("a value has at most 25 KiB"),
        Err(SetError::Full) => bad_parameter("the vault is full"),
    }
}

fn base(state: &State) -> String {
    state.endpoints.origin(Service::Vault).to_owned()
}

/// The audience of tokens for Key Vault.
pub(crate) const AUDIENCE: &str = "https://vault.azure.net";
