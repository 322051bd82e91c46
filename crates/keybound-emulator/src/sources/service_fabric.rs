//! Service Fabric: HTTPS with a self-signed certificate that clients know by its thumbprint.
use super::{DefaultIdentity, Problem, Protocol, as_number};
use crate::response::{Response, json_response};
use crate::selector::IdentityId;
use http::Method;
use serde_json::json;
use uuid::Uuid;

fn rejected(problem: &Problem) -> Response {
    let (status, code, message) = match problem {
        Problem::SecretMissing => (
            400,
            "SecretHeaderNotFound",
            "Secret is not found in the request headers.",
        ),
        // An unknown secret is that of another application.
        Problem::SecretWrong | Problem::IdentityUnknown | Problem::IdentityAbsent => (
            404,
            "ManagedIdentityNotFound",
            "Managed identity not found for the specified application host.",
        ),
        Problem::ResourceMissing => (
            400,
            "ArgumentNullOrEmpty",
            "The parameter 'resource' should not be null or empty string.",
        ),
        Problem::ApiVersionMissing | Problem::ApiVersionUnsupported => (
            400,
            "InvalidApiVersion",
            "The api-version is not supported.",
        ),
        Problem::ResourceInvalid | Problem::Internal => {
            (500, "InternalServerError", "An error occurred.")
        }
        Problem::NotFound => (404, "NotFound", problem.reason()),
        Problem::Method(_) => (405, "MethodNotAllowed", problem.reason()),
        _ => (problem.status(), "InvalidRequest", problem.reason()),
    };
    let body = json!({"error": {
        "correlationId": Uuid::new_v4().to_string(),
        "code": code,
        "message": message,
    }});
    json_response(status, &body)
}

/// The path of the endpoint.
pub(crate) const PATH: &str = "/metadata/identity/oauth2/token";

pub(crate) const PROTOCOL: Protocol = Protocol {
    path: PATH,
    method: Method::GET,
    requires_metadata: false,
    rejects_forwarded: false,
    secret: Some(("secret", |secrets| &secrets.service_fabric)),
    api_versions: &["2019-07-01-preview", "2020-05-01"],
    selectors: &[("principalId", IdentityId::Object)],
    optional: &["token_sha256_to_refresh", "xms_cc"],
    default_identity: DefaultIdentity::SystemOrOnly,
    members: &["access_token", "resource", "token_type"],
    expires_on: as_number,
    rejected,
};
