//! Azure Arc: a request is authorized by the content of a file that only local processes can read. A request without it gets a
//! challenge that names a new file.
mod key_files;

pub(crate) use key_files::KeyFiles;

use super::{DefaultIdentity, Problem, Protocol, as_text, cloud_shell, oauth_response};
use crate::call::Call;
use crate::faults::Action;
use crate::response::{Response, oauth_error};
use crate::selector::IdentityId;
use crate::state::State;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Method};

/// Handles a request to the agent.
pub(crate) async fn respond(state: &State, call: &mut Call) -> Response {
    let protocol = match state.config.arc.user_assigned {
        true => &PROTOCOL,
        false => &WITHOUT_USER_ASSIGNED,
    };
    let secrets = &state.source_secrets;
    match protocol.read(&state.config.identities, call, secrets) {
        Ok(_) if !is_authorized(state, call) => {
            let response = challenge(state, call.fault.as_ref());
            Problem::Unauthorized.respond(call, response)
        }
        _ => protocol.respond(state, call).await,
    }
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
            let mut response = oauth_response(&Problem::Unauthorized);
            response.headers_mut().insert(WWW_AUTHENTICATE, header);
            response
        }
        Err(error) => {
            let description = format!("The key file cannot be written: {error}");
            oauth_error(500, "internal_server_error", &description)
        }
    }
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
    secret: None,
    api_versions: &["2019-11-01", "2020-06-01"],
    selectors: &[
        ("client_id", IdentityId::Client),
        ("object_id", IdentityId::Object),
        ("msi_res_id", IdentityId::Resource),
    ],
    optional: &["mi_res_id"],
    default_identity: DefaultIdentity::System,
    members: &[
        "access_token",
        "client_id",
        "expires_in",
        "msi_res_id",
        "not_before",
        "object_id",
        "refresh_token",
        "resource",
        "token_type",
    ],
    expires_on: as_text,
    rejected: oauth_response,
};

/// An agent that ignores which identity is named.
const WITHOUT_USER_ASSIGNED: Protocol = Protocol {
    selectors: &[],
    optional: &["client_id", "object_id", "msi_res_id", "mi_res_id"],
    // It names no identity either.
    members: cloud_shell::PROTOCOL.members,
    ..PROTOCOL
};
