use super::error_response::ErrorResponse;
use super::{find_tenant, issuer};
use crate::call::Call;
use crate::config::TokenVersion;
use crate::faults::Action;
use crate::response::{Response, json_response};
use crate::service::Service;
use crate::state::State;
use serde_json::json;

/// The discovery document (OpenID Connect Discovery section 3, with the members of RFC 8705 section 5).
pub(super) fn document(state: &State, tenant: &str) -> Result<Response, ErrorResponse> {
    let tenant = find_tenant(state, tenant)?;
    let base = format!("{}/{tenant}", state.endpoints.origin(Service::Sts));
    let token_endpoint = format!("{base}/oauth2/v2.0/token");
    Ok(json_response(
        200,
        &json!({
            "issuer": issuer(state, TokenVersion::V2, tenant.as_str()),
            "token_endpoint": token_endpoint,
            "jwks_uri": format!("{base}/discovery/v2.0/keys"),
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": ["tls_client_auth"],
            "response_types_supported": ["token"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "tls_client_certificate_bound_access_tokens": true,
            "mtls_endpoint_aliases": {"token_endpoint": token_endpoint},
            "tenant_region_scope": state.config.region,
        }),
    ))
}

/// The key set that tokens are verified with.
pub(super) async fn keys(
    state: &State,
    call: &Call,
    tenant: &str,
) -> Result<Response, ErrorResponse> {
    find_tenant(state, tenant)?;
    let key = match call.fault {
        Some(Action::ForeignKey) => &state.keys.foreign,
        _ => &state.keys.entra,
    };
    let signer = key.get().await.map_err(|_| {
        ErrorResponse::new(90_033, "A transient error has occurred. Please try again.")
    })?;
    Ok(json_response(200, &signer.jwks()))
}
