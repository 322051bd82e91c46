//! IMDS v1: bearer tokens.
use crate::call::Call;
use crate::faults::IMDS_TOKEN_PATH;
use crate::response::{Response, oauth_error};
use crate::selector::IdentityId;
use crate::sources::{
    DefaultIdentity, Problem, Protocol, SourceToken, respond_with, token_response,
};
use crate::state::State;
use http::Method;
use serde_json::json;

/// Handles a request for a token.
pub(super) async fn respond(state: &State, call: &mut Call) -> Response {
    let result = token(state, call).await;
    respond_with(call, result, rejected)
}

async fn token(state: &State, call: &mut Call) -> Result<Response, Problem> {
    let request = PROTOCOL.read(&state.config.identities, call, None)?;
    let token = SourceToken::issue(state, call, request).await?;
    Ok(token_response(&json!({
        "access_token": token.access_token,
        "client_id": token.client_id,
        "expires_in": token.expires_in.to_string(),
        "expires_on": token.expires_on.to_string(),
        "ext_expires_in": token.expires_in.to_string(),
        "not_before": token.not_before.to_string(),
        "resource": token.resource,
        "token_type": token.token_type,
    })))
}

fn rejected(problem: &Problem) -> Response {
    let error = match problem {
        Problem::NotFound => "not_found",
        Problem::Method(_) => "method_not_allowed",
        Problem::ResourceInvalid => "invalid_resource",
        Problem::Internal => "internal_server_error",
        _ => "invalid_request",
    };
    oauth_error(problem.status(), error, problem.reason())
}

pub(crate) const PROTOCOL: Protocol = Protocol {
    path: IMDS_TOKEN_PATH,
    method: Method::GET,
    requires_metadata: true,
    rejects_forwarded: true,
    secret_header: None,
    api_versions: &API_VERSIONS,
    selectors: &[
        ("client_id", IdentityId::Client),
        ("object_id", IdentityId::Object),
        ("msi_res_id", IdentityId::Resource),
    ],
    optional: &["authority", "bypass_cache"],
    default_identity: DefaultIdentity::SystemOrOnly,
};

/// The version of the documentation, which all client libraries send, and those of the published specification.
const API_VERSIONS: [&str; 8] = [
    "2018-02-01",
    "2018-10-01",
    "2019-02-01",
    "2019-08-15",
    "2020-06-01",
    "2020-09-01",
    "2021-02-01",
    "2021-12-13",
];
