//! Machine Learning: a variant of App Service's protocol of 2017, in which every request names an identity.
use super::{DefaultIdentity, Problem, Protocol, as_number};
use crate::response::{Response, azure_error};
use crate::selector::IdentityId;
use http::Method;

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
    secret: Some(("secret", |secrets| &secrets.machine_learning)),
    api_versions: &["2017-09-01"],
    selectors: &[("clientid", IdentityId::Client)],
    optional: &[],
    default_identity: DefaultIdentity::Required,
    members: &["access_token", "client_id", "resource", "token_type"],
    expires_on: as_number,
    rejected,
};
