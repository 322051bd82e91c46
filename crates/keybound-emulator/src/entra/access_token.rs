//! The access tokens that Entra signs, for its token endpoint and for the sources of bearer tokens.
use super::issuer;
use crate::config::{Identity, IdentityType, TokenVersion, roles_for};
use crate::faults::Action;
use crate::state::State;
use keybound_core::{Guid, X5tS256};
use serde_json::{Value, json};
use std::io;
use uuid::Uuid;

/// The contents of a token that depend on its request.
pub(crate) struct TokenContents<'a> {
    pub tenant: &'a Guid,
    pub identity: &'a Identity,
    /// The audience.
    pub resource: &'a str,
    /// The certificate to which the token is bound; `None` for a bearer token.
    pub bound_to: Option<X5tS256>,
    /// The capabilities of the client, `xms_cc`.
    pub capabilities: &'a [String],
}

/// A signed token. Times are in seconds since 1970.
pub(crate) struct AccessToken {
    pub text: String,
    pub not_before: u64,
    pub expires_on: u64,
}

/// Issues a token, with the fault of the request.
///
/// # Errors
/// If the key cannot be generated, or does not sign.
pub(crate) async fn issue(
    state: &State,
    fault: Option<&Action>,
    contents: &TokenContents<'_>,
) -> io::Result<AccessToken> {
    let lifetime = u64::from(state.config.entra.token_lifetime_seconds);
    let not_before = match fault {
        Some(Action::ExpiredToken) => state.clock.unix().saturating_sub(lifetime + EXPIRED_SINCE),
        _ => state.clock.unix(),
    };
    let expires_on = not_before + lifetime;
    let claims = claims(state, fault, contents, not_before, expires_on);
    let text = match fault {
        Some(Action::GarbageToken) => "this.is.not_a_token!".to_owned(),
        Some(Action::ForeignKey) => state.keys.foreign.get().await?.sign(&claims)?,
        Some(Action::OtherTenantKey) => state.keys.tenant.get().await?.sign(&claims)?,
        _ => state.keys.entra.signing().get().await?.sign(&claims)?,
    };
    Ok(AccessToken {
        text,
        not_before,
        expires_on,
    })
}

fn claims(
    state: &State,
    fault: Option<&Action>,
    contents: &TokenContents<'_>,
    not_before: u64,
    expires_on: u64,
) -> Value {
    let identity = contents.identity;
    let registered = state.config.resource(contents.resource);
    let version = registered.map_or(TokenVersion::V1, |api| api.token_version);
    let issuer = issuer(state, version, contents.tenant.as_str());
    let mut claims = json!({
        "aud": contents.resource,
        "iss": issuer,
        "iat": not_before,
        "nbf": not_before,
        "exp": expires_on,
        "idtyp": "app",
        "oid": identity.object_id.as_str(),
        "sub": identity.object_id.as_str(),
        "tid": contents.tenant.as_str(),
        "uti": Uuid::new_v4().simple().to_string(),
    });
    let client_id = match fault {
        Some(Action::OtherClient) => UNKNOWN_ID,
        _ => identity.client_id.as_str(),
    };
    // The client authenticated by a certificate: "2".
    match (version, registered) {
        (TokenVersion::V2, Some(api)) => {
            claims["aud"] = json!(api.client_id.as_str());
            claims["azp"] = json!(client_id);
            claims["azpacr"] = json!("2");
            claims["ver"] = json!("2.0");
        }
        _ => {
            claims["appid"] = json!(client_id);
            claims["appidacr"] = json!("2");
            claims["idp"] = json!(issuer);
            claims["ver"] = json!("1.0");
        }
    }
    let uri = registered.map_or(contents.resource, |api| &api.uri);
    let roles = roles_for(&identity.roles, uri);
    if !roles.is_empty() {
        claims["roles"] = json!(roles);
    }
    let bound_to = match fault {
        Some(Action::NoCnf) => None,
        Some(Action::OtherCnf) => Some(X5tS256::of_der(b"another certificate")),
        _ => contents.bound_to.clone(),
    };
    if let Some(thumbprint) = bound_to {
        claims["cnf"] = json!({"x5t#S256": thumbprint.as_str()});
        claims["xms_tbflags"] = json!(2);
    }
    if let (IdentityType::User, Some(id)) = (identity.kind, &identity.resource_id) {
        claims["xms_mirid"] = Value::String(id.clone());
    }
    if !contents.capabilities.is_empty() {
        claims["xms_cc"] = json!(contents.capabilities);
    }
    claims
}

/// The time since an expired token expired, in seconds: longer than any accepted clock skew.
const EXPIRED_SINCE: u64 = 3600;
/// A client id of no configuration.
const UNKNOWN_ID: &str = "00000000-0000-4000-8000-00000000dead";
