//! Machine Learning: a variant of App Service's protocol of 2017, in which every request names an identity.
use super::{DefaultIdentity, Problem, Protocol, SourceToken, respond_with, token_response};
use crate::call::Call;
use crate::response::{Response, azure_error};
use crate::selector::IdentityId;
use crate::state::State;
use http::Method;
use serde_json::json;

/// Handles a request to the identity endpoint.
pub(crate) async fn respond(state: &State, call: &mut Call) -> Response {
    let result = token(state, call).await;
    respond_with(call, result, rejected)
}

async fn token(state: &State, call: &mut Call) -> Result<Response, Problem> {
    let secret = &state.source_secrets.machine_learning;
    let request = PROTOCOL.read(&state.config.identities, call, Some(secret))?;
    let token = SourceToken::issue(state, call, request).await?;
    Ok(token_response(&json!({
        "access_token": token.access_token,
        "client_id": token.client_id,
        "expires_on": token.expires_on,
        "resource": token.resource,
        "token_type": token.token_type,
    })))
}

fn rejected(problem: &Problem) -> Response {
    let code = match problem {
        Problem::NotFound => "NotFound",
        Problem::Method(_) => "MethodNotAllowed",
        Problem::SecretMissing | Problem::SecretWrong => "Unauthorized",
        Problem::IdentityUnknown | Problem::IdentityMissing => "IdentityNotFound",
        Problem::ResourceInvalid => "InvalidResource",
        Problem::Internal => "InternalServerError",
        _ => "BadRequest",
    };
    azure_error(problem.status(), code, problem.reason())
}

/// The path of the endpoint.
pub(crate) const PATH: &str = "/MSI/auth";

pub(crate) const PROTOCOL: Protocol = Protocol {
    path: PATH,
    method: Method::GET,
    requires_metadata: false,
    rejects_forwarded: false,
    secret_header: Some("secret"),
    api_versions: &["2017-09-01"],
    selectors: &[("clientid", IdentityId::Client)],
    optional: &[],
    default_identity: DefaultIdentity::Required,
};
