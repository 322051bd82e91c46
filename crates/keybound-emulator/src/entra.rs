//! Entra's token service for managed identities: tokens over mutual TLS, the discovery document and the key set.
pub(crate) mod access_token;
pub(crate) mod claims_challenge;
mod discovery;
mod error_response;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub(crate) mod token_check;
mod token_endpoint;
mod token_request;

use crate::call::Call;
use crate::response::{Response, not_found};
use crate::service::Service;
use crate::state::State;
use error_response::ErrorResponse;

pub(crate) async fn respond(state: &State, call: &mut Call) -> Response {
    let path = call.request.uri().path().to_owned();
    let Some((tenant, rest)) = path.trim_start_matches('/').split_once('/') else {
        return not_found();
    };
    let response = match rest {
        "oauth2/v2.0/token" => token_endpoint::respond(state, call, tenant).await,
        "v2.0/.well-known/openid-configuration" => discovery::document(state, tenant),
        "discovery/v2.0/keys" => discovery::keys(state, call, tenant).await,
        _ => return not_found(),
    };
    response.unwrap_or_else(|error| error.respond(state, call))
}

/// Checks that the tenant in the path is the configured one.
fn check_tenant(state: &State, tenant: &str) -> Result<(), ErrorResponse> {
    if state.config.tenant_id.matches(tenant) {
        return Ok(());
    }
    Err(ErrorResponse::new(
        90002,
        "Tenant not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud.",
    ))
}

/// The issuer in the tokens of this service.
fn issuer(state: &State) -> String {
    let sts = state.endpoints.origin(Service::Sts);
    format!("{sts}/{}/v2.0", state.config.tenant_id)
}
