//! Azure Arc: a request is authorized by the content of a file that only local processes can read. A request without it gets a
//! challenge that names a new file.
mod key_files;

pub(crate) use key_files::KeyFiles;

use super::{DefaultIdentity, Problem, Protocol, SourceToken, respond_with, token_response};
use crate::call::Call;
use crate::faults::Action;
use crate::response::{Response, oauth_error};
use crate::selector::IdentityId;
use crate::state::State;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Method};
use serde_json::json;

/// Handles a request to the agent.
pub(crate) async fn respond(state: &State, call: &mut Call) -> Response {
    let result = token(state, call).await;
    let fault = call.fault.clone();
    respond_with(call, result, |problem| match problem {
        Problem::Unauthorized => challenge(state, fault.as_ref()),
        problem => rejected(problem),
    })
}

async fn token(state: &State, call: &mut Call) -> Result<Response, Problem> {
    let protocol = match state.config.arc.user_assigned {
        true => &PROTOCOL,
        false => &WITHOUT_USER_ASSIGNED,
    };
    let request = protocol.read(&state.config.identities, call, None)?;
    if !is_authorized(state, call) {
        return Err(Problem::Unauthorized);
    }
    let identity = request.identity;
    let token = SourceToken::issue(state, call, request).await?;
    let mut body = json!({
        "access_token": token.access_token,
        "refresh_token": "",
        "expires_in": token.expires_in.to_string(),
        "expires_on": token.expires_on.to_string(),
        "not_before": token.not_before.to_string(),
        "resource": token.resource,
        "token_type": token.token_type,
    });
    if state.config.arc.user_assigned {
        body["client_id"] = json!(identity.client_id.as_str());
        body["object_id"] = json!(identity.object_id.as_str());
        if let Some(id) = &identity.resource_id {
            body["msi_res_id"] = json!(id);
        }
    }
    Ok(token_response(&body))
}

/// Whether the request has the content of a key file that a challenge named: `Authorization: Basic CONTENT`.
fn is_authorized(state: &State, call: &Call) -> bool {
    let mut values = call.request.headers().get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let parts = value.as_bytes().split_at_checked(BASIC.len());
    parts.is_some_and(|(scheme, content)| {
        scheme.eq_ignore_ascii_case(BASIC) && state.arc_key_files.contains(content)
    })
}

/// 401 with the path of a new key file.
fn challenge(state: &State, fault: Option<&Action>) -> Response {
    let fault = match fault {
        Some(Action::KeyFile(fault)) => Some(*fault),
        _ => None,
    };
    let header = state.arc_key_files.create(fault).and_then(|path| {
        HeaderValue::from_str(&format!("Basic realm={path}")).map_err(std::io::Error::other)
    });
    match header {
        Ok(header) => {
            let mut response = rejected(&Problem::Unauthorized);
            response.headers_mut().insert(WWW_AUTHENTICATE, header);
            response
        }
        Err(error) => {
            let description = format!("The key file cannot be written: {error}");
            oauth_error(500, "internal_server_error", &description)
        }
    }
}

fn rejected(problem: &Problem) -> Response {
    let error = match problem {
        Problem::NotFound => "not_found",
        Problem::Method(_) => "method_not_allowed",
        Problem::Unauthorized => "unauthorized_client",
        Problem::ResourceInvalid => "invalid_resource",
        Problem::Internal => "internal_server_error",
        _ => "invalid_request",
    };
    oauth_error(problem.status(), error, problem.reason())
}

/// The path of the endpoint.
pub(crate) const PATH: &str = "/metadata/identity/oauth2/token";

const BASIC: &[u8] = b"Basic ";

/// `mi_res_id` is ignored, as by the agent: the token is that of the system-assigned identity.
pub(crate) const PROTOCOL: Protocol = Protocol {
    path: PATH,
    method: Method::GET,
    requires_metadata: true,
    rejects_forwarded: false,
    secret_header: None,
    api_versions: &["2019-11-01", "2020-06-01"],
    selectors: &[
        ("client_id", IdentityId::Client),
        ("object_id", IdentityId::Object),
        ("msi_res_id", IdentityId::Resource),
    ],
    optional: &["mi_res_id"],
    default_identity: DefaultIdentity::System,
};

/// An agent that ignores which identity is named.
const WITHOUT_USER_ASSIGNED: Protocol = Protocol {
    selectors: &[],
    optional: &["client_id", "object_id", "msi_res_id", "mi_res_id"],
    ..PROTOCOL
};
