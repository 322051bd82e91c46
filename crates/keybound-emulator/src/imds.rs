//! IMDS: platform metadata and certificates for keys (v2), bearer tokens (v1), and instance metadata.
mod attestation_claims;
pub(crate) mod csr;
mod error_response;
mod instance_metadata;
mod issue_credential;
mod platform_metadata;
mod query;
#[cfg(test)]
mod tests;
pub(crate) mod token;

pub(crate) use attestation_claims::read as read_attestation;

use crate::call::Call;
use crate::config::BypassCache;
use crate::faults::{IMDS_TOKEN_PATH, ISSUE_PATH, METADATA_PATH, without_slash};
use crate::response::Response;
use crate::state::State;
use error_response::ErrorResponse;
use http::Method;
use instance_metadata::InstanceMetadata;
use query::Query;

/// Whether a query is valid, for fuzzers.
pub(crate) fn read_query(query: &str) -> bool {
    Query::read(query, BypassCache::Supported).is_ok()
}

/// Handles a request to IMDS.
pub(crate) async fn respond(state: &State, call: &mut Call) -> Response {
    let result = handle(state, call).await;
    result.unwrap_or_else(|error| error.respond(call))
}

async fn handle(state: &State, call: &mut Call) -> Result<Response, ErrorResponse> {
    if let Some(document) = InstanceMetadata::at(call.request.uri().path()) {
        return document.respond(state, call);
    }
    if without_slash(call.request.uri().path()) == IMDS_TOKEN_PATH {
        return Ok(token::PROTOCOL.respond(state, call).await);
    }
    let method = match call.request.uri().path() {
        METADATA_PATH => Method::GET,
        ISSUE_PATH => Method::POST,
        _ => {
            return Err(ErrorResponse::new(
                404,
                "not_found",
                "The requested resource was not found",
            ));
        }
    };
    if call.request.method() != method {
        return Err(ErrorResponse::method_not_allowed(method));
    }
    check_headers(call)?;
    let text = call.request.uri().query().unwrap_or_default();
    let query = Query::read(text, state.config.imds.bypass_cache)?;
    let identity = query.identity(&state.config.identities)?;
    call.note("client_id", identity.client_id.as_str());
    if method == Method::GET {
        return Ok(platform_metadata::respond(
            state,
            identity,
            call.fault.as_ref(),
        ));
    }
    issue_credential::respond(state, identity, query.bypass_cache, call).await
}

/// Checks that the request is a local one: it has the header that browsers do not send, and no header of a proxy.
fn check_headers(call: &Call) -> Result<(), ErrorResponse> {
    if !call.has_metadata_header() {
        return Err(ErrorResponse::invalid(
            "Required metadata header not specified",
        ));
    }
    if call.is_forwarded() {
        return Err(ErrorResponse::invalid(
            "X-Forwarded-For header is not allowed: the request came through a proxy",
        ));
    }
    let request_id = call.header("x-ms-client-request-id");
    if request_id.is_none_or(|id| id.trim().is_empty()) {
        return Err(ErrorResponse::invalid(
            "Required x-ms-client-request-id header not specified",
        ));
    }
    Ok(())
}

/// The `Server` header of the real IMDS, in which clients search for `IMDS`.
pub(crate) const SERVER: &str = "IMDS/150.870.65.1854";
