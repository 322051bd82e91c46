use super::AUDIENCE;
use crate::call::Call;
use crate::entra::claims_challenge::claims_challenge;
use crate::entra::token_check::TokenProblem;
use crate::pki::ClientCertificateProblem;
use crate::response::{Response, azure_error, json_response};
use crate::secrets::Version;
use crate::service::Service;
use crate::state::State;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

/// 401 for a rejected token, with a challenge that names the authorization server.
pub(super) fn token_rejected(state: &State, call: &mut Call, problem: TokenProblem) -> Response {
    let (code, message) = text(problem);
    rejected(state, call, code, message)
}

/// 401 for a valid bearer token, if the vault accepts bound tokens only.
pub(super) fn bearer_rejected(state: &State, call: &mut Call) -> Response {
    let message = "AKV10000: This vault accepts tokens that are bound to a certificate only.";
    rejected(state, call, "BoundTokenRequired", message)
}

fn rejected(state: &State, call: &mut Call, code: &'static str, message: &str) -> Response {
    call.note("refused", code);
    let challenge = format!(
        r#"Bearer authorization="{}/{}", resource="{AUDIENCE}""#,
        state.endpoints.origin(Service::Sts),
        state.config.tenant_id
    );
    let challenge = HeaderValue::from_str(&challenge).unwrap_or(HeaderValue::from_static("Bearer"));
    unauthorized(code, message, challenge)
}

/// 401 for a valid token without the requested claims.
pub(super) fn claims_challenged(state: &State, claims: Option<&str>) -> Response {
    let message = "AKV10000: The token does not have the requested claims.";
    unauthorized(
        "InsufficientClaims",
        message,
        claims_challenge(state, claims),
    )
}

/// `{value, id, attributes}`, the body of responses to GET and PUT.
pub(super) fn secret_bundle(base: &str, name: &str, version: &Version) -> Value {
    let mut bundle = secret_item(base, name, version);
    bundle["id"] = json!(format!("{base}/secrets/{name}/{}", version.id));
    bundle["value"] = json!(version.value);
    bundle
}

/// A secret in a list.
pub(super) fn secret_item(base: &str, name: &str, version: &Version) -> Value {
    json!({
        "id": format!("{base}/secrets/{name}"),
        "attributes": {
            "enabled": true,
            "created": version.created,
            "updated": version.created,
            "recoveryLevel": "Purgeable",
            "recoverableDays": 0,
        },
        "tags": {},
    })
}

pub(super) fn secret_not_found() -> Response {
    let message = "A secret with the requested name/id was not found in this key vault.";
    azure_error(404, "SecretNotFound", message)
}

pub(super) fn bad_parameter(message: &str) -> Response {
    azure_error(400, "BadParameter", message)
}

pub(super) fn method_not_allowed() -> Response {
    azure_error(405, "MethodNotAllowed", "the method is not supported")
}

pub(super) fn no_such_path() -> Response {
    azure_error(404, "NotFound", "the emulated vault supports /secrets only")
}

fn unauthorized(code: &str, message: &str, challenge: HeaderValue) -> Response {
    let mut response = json_response(
        StatusCode::UNAUTHORIZED.as_u16(),
        &json!({"error": {
            "code": "Unauthorized",
            "message": message,
            "innererror": {"code": code},
        }}),
    );
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

fn text(problem: TokenProblem) -> (&'static str, &'static str) {
    match problem {
        TokenProblem::Missing => (
            "MissingToken",
            "AKV10000: Request is missing a Bearer or PoP token.",
        ),
        TokenProblem::MalformedHeader => (
            "InvalidAuthorizationHeader",
            "AKV10000: The Authorization header is not a scheme and a token.",
        ),
        TokenProblem::UnknownScheme => (
            "UnknownScheme",
            "AKV10000: Request is missing a Bearer or PoP token.",
        ),
        TokenProblem::Malformed => ("MalformedToken", "AKV10000: The token cannot be read."),
        TokenProblem::Signature => (
            "InvalidSignature",
            "AKV10046: Unable to resolve the key used for signature validation.",
        ),
        TokenProblem::Issuer => ("InvalidIssuer", "AKV10032: Invalid issuer."),
        TokenProblem::NotYetValid => ("TokenNotYetValid", "AKV10000: The token is not valid yet."),
        TokenProblem::Expired => ("TokenExpired", "AKV10000: The token has expired."),
        TokenProblem::Audience => (
            "InvalidAudience",
            "AKV10022: Invalid audience. Expected https://vault.azure.net.",
        ),
        TokenProblem::BoundAsBearer => (
            "BoundTokenAsBearer",
            "AKV10000: The token is bound to a certificate and must be presented as MTLS_POP.",
        ),
        TokenProblem::NotBound => (
            "TokenNotBound",
            "AKV10000: The token is not bound to a certificate and cannot be presented as MTLS_POP.",
        ),
        TokenProblem::NoCertificate => (
            "MissingClientCertificate",
            "AKV10000: Client certificate required for using MTLS_POP token.",
        ),
        TokenProblem::Certificate(ClientCertificateProblem::Expired) => (
            "ClientCertificateExpired",
            "AKV10000: The client certificate has expired.",
        ),
        TokenProblem::Certificate(ClientCertificateProblem::NotYetValid) => (
            "ClientCertificateNotYetValid",
            "AKV10000: The client certificate is not valid yet.",
        ),
        TokenProblem::Certificate(
            ClientCertificateProblem::Foreign | ClientCertificateProblem::Malformed,
        ) => (
            "ClientCertificateNotTrusted",
            "AKV10000: The client certificate is not from a trusted issuer.",
        ),
        TokenProblem::OtherCertificate => (
            "ClientCertificateMismatch",
            "AKV10000: [MtlsCnfClaimRequestDataValidationFailed] The client certificate is not the one that the MTLS_POP token is bound to.",
        ),
    }
}
