//! The access tokens that Entra signs, for its token endpoint and for the sources of bearer tokens.
use super::issuer;
use crate::config::{App, Identity, TokenVersion, roles_for};
use crate::faults::Action;
use crate::state::State;
use keybound_core::{Guid, X5tS256};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;
use uuid::Uuid;

/// The contents of a token that depend on its request.
pub(crate) struct TokenContents<'a> {
    pub tenant: &'a Guid,
    pub principal: Principal<'a>,
    /// The audience.
    pub resource: &'a str,
    /// The certificate to which the token is bound; `None` for a bearer token.
    pub bound_to: Option<X5tS256>,
    /// The capabilities of the client, `xms_cc`.
    pub capabilities: &'a [String],
}

/// The client that a token is for.
pub(crate) struct Principal<'a> {
    client_id: &'a Guid,
    object_id: &'a Guid,
    roles: Option<&'a BTreeMap<String, Vec<String>>>,
    /// Of a user-assigned identity.
    resource_id: Option<&'a str>,
}

impl<'a> From<&'a Identity> for Principal<'a> {
    fn from(identity: &'a Identity) -> Self {
        Self {
            client_id: &identity.client_id,
            object_id: &identity.object_id,
            roles: Some(&identity.roles),
            resource_id: identity.resource_id.as_deref(),
        }
    }
}

impl<'a> From<&'a App> for Principal<'a> {
    fn from(app: &'a App) -> Self {
        Self {
            client_id: &app.client_id,
            object_id: &app.object_id,
            roles: None,
            resource_id: None,
        }
    }
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
    let principal = &contents.principal;
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
        "oid": principal.object_id.as_str(),
        "sub": principal.object_id.as_str(),
        "tid": contents.tenant.as_str(),
        "uti": Uuid::new_v4().simple().to_string(),
    });
    let client_id = match fault {
        Some(Action::OtherClient) => UNKNOWN_ID,
        _ => principal.client_id.as_str(),
    };
    // The client authenticated by a certificate or an assertion: "2".
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
    let roles = principal
        .roles
        .map_or(&[][..], |roles| roles_for(roles, uri));
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
    if let Some(id) = principal.resource_id {
        claims["xms_mirid"] = json!(id);
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
