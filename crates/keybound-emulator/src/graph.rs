//! Graph's mTLS endpoint with the list of applications. It requests the client certificate in the first handshake and requires
//! proof of possession for bound tokens.
#[cfg(test)]
mod tests;

use crate::call::Call;
use crate::entra::claims_challenge::claims_challenge;
use crate::entra::token_check::{TokenProblem, check};
use crate::faults::Action;
use crate::pki::ClientCertificateProblem;
use crate::response::{Response, json_response};
use crate::service::Service;
use crate::state::State;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, Method};
use serde_json::{Value, json};
use uuid::Uuid;

pub(crate) async fn respond(state: &State, call: &mut Call) -> Response {
    if let Err(problem) = check(state, call, AUDIENCE) {
        let message = text(problem);
        call.note("refused", message);
        let mut response = error(call, 401, "InvalidAuthenticationToken", message);
        let challenge = HeaderValue::from_static(CHALLENGE);
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        return response;
    }
    if let Some(Action::ClaimsChallenge(claims)) = &call.fault {
        let challenge = claims_challenge(state, claims.as_deref());
        let message = "The token does not have the requested claims.";
        let mut response = error(call, 401, "InvalidAuthenticationToken", message);
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        return response;
    }
    if call.request.uri().path() != "/v1.0/applications" {
        return error(
            call,
            404,
            "ResourceNotFound",
            "The emulated Graph supports applications only.",
        );
    }
    if call.request.method() != Method::GET {
        return error(
            call,
            405,
            "Request_BadRequest",
            "The method is not supported.",
        );
    }
    if state.config.graph.forbidden {
        call.note("refused", "Authorization_RequestDenied");
        let message = "Insufficient privileges to complete the operation.";
        return error(call, 403, "Authorization_RequestDenied", message);
    }
    match top(call) {
        Some(most) => json_response(200, &applications(state, most)),
        None => error(
            call,
            400,
            "BadRequest",
            "Invalid page size specified. Must be between 1 and 999 inclusive.",
        ),
    }
}

/// `$top`: the maximum number of entries; `None` if invalid.
fn top(call: &Call) -> Option<usize> {
    let query = call.request.uri().query().unwrap_or_default();
    let value = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "$top");
    match value {
        None => Some(DEFAULT_TOP),
        Some((_, text)) => text
            .parse()
            .ok()
            .filter(|most| (1..=MAX_TOP).contains(most)),
    }
}

/// The applications are the identities of the emulated host.
fn applications(state: &State, most: usize) -> Value {
    let entries: Vec<Value> = state
        .config
        .identities
        .iter()
        .take(most)
        .map(|identity| {
            let name = identity
                .resource_id
                .as_deref()
                .and_then(|id| id.rsplit('/').next());
            json!({
                "id": identity.object_id.as_str(),
                "appId": identity.client_id.as_str(),
                "displayName": name.unwrap_or("emulated host"),
            })
        })
        .collect();
    let base = state.endpoints.origin(Service::Graph);
    json!({"@odata.context": format!("{base}/v1.0/$metadata#applications"), "value": entries})
}

fn error(call: &Call, status: u16, code: &str, message: &str) -> Response {
    let request_id = Uuid::new_v4().to_string();
    let client_request_id = call
        .client_request_id()
        .map_or_else(|| request_id.clone(), |id| id.to_string());
    json_response(
        status,
        &json!({"error": {
            "code": code,
            "message": message,
            "innerError": {"request-id": request_id, "client-request-id": client_request_id},
        }}),
    )
}

fn text(problem: TokenProblem) -> &'static str {
    match problem {
        TokenProblem::Missing => "Access token is empty.",
        TokenProblem::MalformedHeader | TokenProblem::UnknownScheme => {
            "The Authorization header is not a known scheme and a token."
        }
        TokenProblem::Malformed => "The token cannot be read as a JWT.",
        TokenProblem::Signature => "Access token validation failure. Invalid signature.",
        TokenProblem::Issuer => "Access token validation failure. Invalid issuer.",
        TokenProblem::NotYetValid => "Lifetime validation failed, the token is not valid yet.",
        TokenProblem::Expired => "Lifetime validation failed, the token is expired.",
        TokenProblem::Audience => "Access token validation failure. Invalid audience.",
        TokenProblem::BoundAsBearer => {
            "Cnf claim not supported over Bearer protocol. The token must be presented as mtls_pop."
        }
        TokenProblem::NotBound => {
            "The token is not bound to a certificate and cannot be presented as mtls_pop."
        }
        TokenProblem::NoCertificate => {
            "[MtlsMissingClientCertificate] The connection has no client certificate."
        }
        TokenProblem::Certificate(ClientCertificateProblem::Expired) => {
            "The client certificate has expired."
        }
        TokenProblem::Certificate(_) => "The client certificate is not accepted.",
        TokenProblem::OtherCertificate => {
            "[MtlsCnfClaimRequestDataValidationFailed] The client certificate is not the one that the token is bound to."
        }
    }
}

/// The audience of tokens for Graph.
pub(crate) const AUDIENCE: &str = "https://graph.microsoft.com";
const CHALLENGE: &str = r#"Bearer realm="", error="invalid_token""#;
const DEFAULT_TOP: usize = 100;
const MAX_TOP: usize = 999;
