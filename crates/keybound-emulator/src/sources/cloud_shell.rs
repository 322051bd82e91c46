//! Cloud Shell: a form in place of a query, and no choice of the identity.
use super::{DefaultIdentity, Problem, Protocol, as_text};
use crate::response::{Response, azure_error};
use http::Method;

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
    secret: None,
    api_versions: &[],
    selectors: &[],
    optional: &[],
    default_identity: DefaultIdentity::System,
    members: &[
        "access_token",
        "refresh_token",
        "expires_in",
        "not_before",
        "resource",
        "token_type",
    ],
    expires_on: as_text,
    rejected,
};
