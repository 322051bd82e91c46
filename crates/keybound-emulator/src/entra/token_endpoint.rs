use super::access_token::{self, TokenContents};
use super::error_response::{
    ErrorResponse, NO_CERTIFICATE, NOT_BOUND, NOT_VALID_NOW, TENANT_NOT_ALLOWED, TOKEN_NOT_AFTER,
};
use super::find_tenant;
use super::token_request::{TokenRequest, unknown_client};
use crate::call::Call;
use crate::config::{Identity, is_same_uri};
use crate::faults::Action;
use crate::pki::{ClientCertificate, ClientCertificateProblem};
use crate::response::{Response, json_response};
use crate::state::State;
use http::{HeaderValue, header};
use keybound_core::Guid;
use serde_json::{Value, json};

pub(super) async fn respond(
    state: &State,
    call: &mut Call,
    tenant: &str,
) -> Result<Response, ErrorResponse> {
    match call.fault {
        Some(Action::Aadsts(code)) => return Err(ErrorResponse::injected(code)),
        Some(Action::InvalidClient) => return Err(ErrorResponse::without_code()),
        _ => (),
    }
    let tenant = find_tenant(state, tenant)?;
    let request = TokenRequest::read(call)?;
    call.note("client_id", request.client_id.as_str());
    call.note("resource", &request.resource);
    call.note("token_type", token_type(&request));
    let (identity, certificate) = authenticate(state, call, tenant, &request)?;
    if request.bound && !state.config.entra.bound_tokens_allowed {
        return Err(ErrorResponse::new(3_921_996, TENANT_NOT_ALLOWED));
    }
    if request.bound && rejects_bound_tokens(state, &request.resource) {
        return Err(ErrorResponse::new(392_196, NOT_BOUND));
    }
    let contents = TokenContents {
        tenant,
        identity,
        resource: &request.resource,
        bound_to: request.bound.then(|| certificate.thumbprint.clone()),
        capabilities: &request.capabilities,
    };
    let token = access_token::issue(state, call.fault.as_ref(), &contents)
        .await
        .map_err(|_| {
            ErrorResponse::new(90_033, "A transient error has occurred. Please try again.")
        })?;
    let lifetime = state.config.entra.token_lifetime_seconds;
    let mut body = json!({
        "token_type": token_type(&request),
        "expires_in": lifetime,
        "ext_expires_in": lifetime,
        "access_token": token.text,
    });
    if let Some(ahead) = state.config.entra.refresh_in_seconds {
        body["refresh_in"] = json!(ahead);
    }
    if let Some(Action::TokenType(word)) = &call.fault {
        body["token_type"] = Value::String(word.clone());
    }
    let mut response = json_response(200, &body);
    let headers = response.headers_mut();
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-store, no-cache"),
    );
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// Checks that the certificate of the connection is the one of the client that the request names.
fn authenticate<'a>(
    state: &'a State,
    call: &Call,
    tenant: &Guid,
    request: &TokenRequest,
) -> Result<(&'a Identity, ClientCertificate), ErrorResponse> {
    let der = call
        .peer
        .client_certificate
        .as_deref()
        .ok_or_else(|| ErrorResponse::new(392_200, NO_CERTIFICATE))?;
    let identity = state
        .config
        .identities
        .iter()
        .find(|identity| identity.client_id == request.client_id)
        .filter(|_| *tenant == state.config.tenant_id)
        .ok_or_else(unknown_client)?;
    let certificate = state
        .pki
        .check_client_certificate(der, state.clock.now())
        .map_err(|problem| match problem {
            ClientCertificateProblem::Malformed => not_accepted("the certificate cannot be read"),
            ClientCertificateProblem::Foreign => not_accepted("the key was not found"),
            ClientCertificateProblem::Expired | ClientCertificateProblem::NotYetValid => {
                ErrorResponse::new(1_000_502, NOT_VALID_NOW)
            }
        })?;
    if !identity.client_id.matches(&certificate.client_id) {
        return Err(not_accepted("it was issued to another client"));
    }
    if !tenant.matches(&certificate.tenant_id) {
        return Err(not_accepted("it was issued for another tenant"));
    }
    if certificate
        .token_not_after
        .is_some_and(|end| end <= state.clock.now())
    {
        return Err(ErrorResponse::new(1_000_901, TOKEN_NOT_AFTER));
    }
    Ok((identity, certificate))
}

fn not_accepted(reason: &'static str) -> ErrorResponse {
    ErrorResponse::new(
        700_027,
        format!("The client certificate is not accepted. [Reason - {reason}.]"),
    )
}

fn rejects_bound_tokens(state: &State, resource: &str) -> bool {
    let unbound = &state.config.entra.unbound_resources;
    unbound.iter().any(|known| is_same_uri(known, resource))
}

fn token_type(request: &TokenRequest) -> &'static str {
    if request.bound { "mtls_pop" } else { "Bearer" }
}
