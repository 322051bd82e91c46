//! Cloud Shell: a form in place of a query, and no choice of the identity.
use super::{DefaultIdentity, Problem, Protocol, SourceToken, respond_with, token_response};
use crate::call::Call;
use crate::response::{Response, azure_error};
use crate::state::State;
use http::Method;
use serde_json::json;

/// Handles a request to the token endpoint.
pub(crate) async fn respond(state: &State, call: &mut Call) -> Response {
    let result = token(state, call).await;
    respond_with(call, result, rejected)
}

async fn token(state: &State, call: &mut Call) -> Result<Response, Problem> {
    let request = PROTOCOL.read(&state.config.identities, call, None)?;
    let token = SourceToken::issue(state, call, request).await?;
    Ok(token_response(&json!({
        "access_token": token.access_token,
        "refresh_token": "",
        "expires_in": token.expires_in.to_string(),
        "expires_on": token.expires_on.to_string(),
        "not_before": token.not_before.to_string(),
        "resource": token.resource,
        "token_type": token.token_type,
    })))
}

fn rejected(problem: &Problem) -> Response {
    let (code, message) = match problem {
        Problem::Metadata => ("bad_request_102", problem.reason()),
        Problem::ResourceMissing => (
            "invalid_request",
            "Required audience parameter not specified",
        ),
        Problem::ResourceInvalid => (
            "AudienceNotSupported",
            "The audience is not a supported MSI token audience.",
        ),
        Problem::NotFound => ("not_found", problem.reason()),
        Problem::Method(_) => ("method_not_allowed", problem.reason()),
        Problem::Internal => ("internal_server_error", problem.reason()),
        _ => ("invalid_request", problem.reason()),
    };
    azure_error(problem.status(), code, message)
}

/// The path of the endpoint.
pub(crate) const PATH: &str = "/oauth2/token";

pub(crate) const PROTOCOL: Protocol = Protocol {
    path: PATH,
    method: Method::POST,
    requires_metadata: true,
    rejects_forwarded: false,
    secret_header: None,
    api_versions: &[],
    selectors: &[],
    optional: &[],
    default_identity: DefaultIdentity::System,
};
