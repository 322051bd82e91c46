use super::access_token::{self, TokenContents};
use super::client_authentication::AuthenticatedClient;
use super::error_response::{ErrorResponse, NOT_BOUND, TENANT_NOT_ALLOWED};
use super::find_tenant;
use super::token_request::TokenRequest;
use crate::call::Call;
use crate::config::is_same_uri;
use crate::faults::Action;
use crate::response::{Response, json_response};
use crate::state::State;
use http::{HeaderValue, header};
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
    if let Some(assertion) = &request.assertion {
        call.note(
            "assertion",
            if assertion.bound {
                "jwt-pop"
            } else {
                "jwt-bearer"
            },
        );
    }
    let client = AuthenticatedClient::of(state, call, tenant, &request)?;
    if request.bound && !state.config.entra.bound_tokens_allowed {
        return Err(ErrorResponse::new(3_921_996, TENANT_NOT_ALLOWED));
    }
    if request.bound && rejects_bound_tokens(state, &request.resource) {
        return Err(ErrorResponse::new(392_196, NOT_BOUND));
    }
    let contents = TokenContents {
        tenant,
        principal: client.principal,
        resource: &request.resource,
        bound_to: client.certificate.filter(|_| request.bound),
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

fn rejects_bound_tokens(state: &State, resource: &str) -> bool {
    let unbound = &state.config.entra.unbound_resources;
    unbound.iter().any(|known| is_same_uri(known, resource))
}

fn token_type(request: &TokenRequest) -> &'static str {
    if request.bound { "mtls_pop" } else { "Bearer" }
}
