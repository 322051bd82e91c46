//! Entra's token service: tokens of managed identities over mutual TLS and of app registrations for assertions, the discovery document and the key set.
pub(crate) mod access_token;
mod bound_token_verifiers;
pub(crate) mod claims_challenge;
mod client_authentication;
mod discovery;
mod error_response;
pub(crate) mod signing_keys;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub(crate) mod token_check;
mod token_endpoint;
mod token_request;

use crate::call::Call;
use crate::config::TokenVersion;
use crate::response::{Response, not_found};
use crate::service::Service;
use crate::state::State;
pub(crate) use bound_token_verifiers::BoundTokenVerifiers;
use discovery::Directory;
use error_response::ErrorResponse;
use keybound_core::Guid;

pub(crate) async fn respond(state: &State, call: &mut Call) -> Response {
    let path = call.request.uri().path().to_owned();
    let Some((tenant, rest)) = path.trim_start_matches('/').split_once('/') else {
        return not_found();
    };
    use TokenVersion::{V1, V2};
    let response = match rest {
        "oauth2/v2.0/token" => token_endpoint::respond(state, call, tenant).await,
        ".well-known/openid-configuration" => document(state, V1, tenant),
        "v2.0/.well-known/openid-configuration" => document(state, V2, tenant),
        "discovery/keys" => keys(state, call, V1, tenant).await,
        "discovery/v2.0/keys" => keys(state, call, V2, tenant).await,
        _ => return not_found(),
    };
    response.unwrap_or_else(|error| error.respond(state, call))
}

fn document(state: &State, version: TokenVersion, name: &str) -> Result<Response, ErrorResponse> {
    let directory = Directory::find(state, name)?;
    Ok(discovery::document(state, version, directory))
}

async fn keys(
    state: &State,
    call: &Call,
    version: TokenVersion,
    name: &str,
) -> Result<Response, ErrorResponse> {
    let directory = Directory::find(state, name)?;
    discovery::keys(state, call, version, directory).await
}

/// The tenant that the path names.
fn find_tenant<'a>(state: &'a State, name: &str) -> Result<&'a Guid, ErrorResponse> {
    let mut tenants = state.config.tenant_ids();
    tenants.find(|tenant| tenant.matches(name)).ok_or_else(|| {
        ErrorResponse::new(
            90002,
            "Tenant not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud.",
        )
    })
}

/// The issuer in the tokens of a version. On Azure the issuers of the two versions are on different hosts.
fn issuer(state: &State, version: TokenVersion, tenant: &str) -> String {
    let sts = state.endpoints.origin(Service::Sts);
    match version {
        TokenVersion::V1 => format!("{sts}/{tenant}/"),
        TokenVersion::V2 => format!("{sts}/{tenant}/v2.0"),
    }
}
