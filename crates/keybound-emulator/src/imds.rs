//! IMDS v2: platform metadata, and certificates for keys.
mod attestation_claims;
pub(crate) mod csr;
mod instance_metadata;
mod issue_credential;
mod platform_metadata;
mod query;
#[cfg(test)]
mod tests;

pub(crate) use attestation_claims::read as read_attestation;

use crate::call::Call;
use crate::config::BypassCache;
use crate::faults::{ISSUE_PATH, METADATA_PATH};
use crate::response::{Response, allow, oauth_error};
use crate::state::State;
use http::Method;
use instance_metadata::Document;
use query::Query;

/// Reads a query, for fuzzers: whether it is one.
pub(crate) fn read_query(query: &str) -> bool {
    Query::read(query, BypassCache::Supported).is_ok()
}

/// Handles a request to IMDS.
pub(crate) async fn respond(state: &State, call: &mut Call) -> Response {
    match handle(state, call).await {
        Ok(answer) => answer,
        Err(refusal) => {
            call.note("refused", refusal.description);
            refusal.respond()
        }
    }
}

async fn handle(state: &State, call: &mut Call) -> Result<Response, Refusal> {
    if let Some(document) = Document::at(call.request.uri().path()) {
        return document.respond(state, call);
    }
    let method = match call.request.uri().path() {
        METADATA_PATH => Method::GET,
        ISSUE_PATH => Method::POST,
        _ => {
            return Err(Refusal::new(
                404,
                "not_found",
                "The requested resource was not found",
            ));
        }
    };
    if call.request.method() != method {
        return Err(Refusal::method_not_allowed(method));
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

/// What makes a request a local one: the header that browsers do not send, and no sign of a proxy.
fn check_headers(call: &Call) -> Result<(), Refusal> {
    if !has_metadata_header(call) {
        return Err(Refusal::invalid("Required metadata header not specified"));
    }
    if came_through_a_proxy(call) {
        return Err(Refusal::invalid(
            "X-Forwarded-For header is not allowed: the request came through a proxy",
        ));
    }
    let request_id = call.header("x-ms-client-request-id");
    if request_id.is_none_or(|id| id.trim().is_empty()) {
        return Err(Refusal::invalid(
            "Required x-ms-client-request-id header not specified",
        ));
    }
    Ok(())
}

fn has_metadata_header(call: &Call) -> bool {
    let metadata = call.header("metadata");
    metadata.is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

fn came_through_a_proxy(call: &Call) -> bool {
    call.request.headers().contains_key("x-forwarded-for")
}

/// A rejected request.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: u16,
    error: &'static str,
    description: &'static str,
    /// For 405.
    allow: Option<Method>,
}

impl Refusal {
    fn new(status: u16, error: &'static str, description: &'static str) -> Self {
        Self {
            status,
            error,
            description,
            allow: None,
        }
    }

    fn invalid(description: &'static str) -> Self {
        Self::new(400, "invalid_request", description)
    }

    fn method_not_allowed(allowed: Method) -> Self {
        Self {
            allow: Some(allowed),
            ..Self::new(
                405,
                "method_not_allowed",
                "The method is not allowed for this resource",
            )
        }
    }

    /// A failure of OpenSSL in the emulator.
    fn failed(description: &'static str) -> Self {
        Self::new(500, "internal_server_error", description)
    }

    fn respond(self) -> Response {
        let response = oauth_error(self.status, self.error, self.description);
        match &self.allow {
            Some(method) => allow(response, method),
            None => response,
        }
    }
}

/// The `Server` header of the real one. Clients look for `IMDS` in it.
pub(crate) const SERVER: &str = "IMDS/150.870.65.1854";
