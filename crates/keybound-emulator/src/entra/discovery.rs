//! The metadata and the key sets of tenants, and of `common`, which stands for all of them.
use super::error_response::ErrorResponse;
use super::{find_tenant, issuer};
use crate::call::Call;
use crate::config::TokenVersion;
use crate::faults::Action;
use crate::response::{Response, json_response};
use crate::service::Service;
use crate::signing_key::JwtSigner;
use crate::state::State;
use keybound_core::Guid;
use serde_json::{Value, json};
use std::io;

/// Whose documents these are.
#[derive(Clone, Copy)]
pub(super) enum Directory<'a> {
    Tenant(&'a Guid),
    Common,
}

impl<'a> Directory<'a> {
    /// The directory that the path names.
    pub(super) fn find(state: &'a State, name: &str) -> Result<Self, ErrorResponse> {
        if name.eq_ignore_ascii_case(COMMON) {
            return Ok(Self::Common);
        }
        find_tenant(state, name).map(Self::Tenant)
    }

    /// Its name in URLs.
    fn path(self) -> &'a str {
        match self {
            Self::Tenant(tenant) => tenant.as_str(),
            Self::Common => COMMON,
        }
    }

    /// Its name in issuers.
    fn issuer_name(self) -> &'a str {
        match self {
            Self::Tenant(tenant) => tenant.as_str(),
            Self::Common => "{tenantid}",
        }
    }
}

/// The discovery document (OpenID Connect Discovery section 3, with the members of RFC 8705 section 5). Issuer and key set are those of
/// one version of tokens.
pub(super) fn document(state: &State, version: TokenVersion, directory: Directory<'_>) -> Response {
    let path = directory.path();
    let base = format!("{}/{path}", state.endpoints.origin(Service::Sts));
    let token_endpoint = format!("{base}/oauth2/v2.0/token");
    let region = match directory {
        Directory::Tenant(_) => json!(state.config.region),
        Directory::Common => Value::Null,
    };
    let keys = match version {
        TokenVersion::V1 => "keys",
        TokenVersion::V2 => "v2.0/keys",
    };
    json_response(
        200,
        &json!({
            "issuer": issuer(state, version, directory.issuer_name()),
            "token_endpoint": token_endpoint,
            "jwks_uri": format!("{base}/discovery/{keys}"),
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": ["tls_client_auth"],
            "response_types_supported": ["token"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "tls_client_certificate_bound_access_tokens": true,
            "mtls_endpoint_aliases": {"token_endpoint": token_endpoint},
            "tenant_region_scope": region,
        }),
    )
}

/// The key set that tokens are verified with.
pub(super) async fn keys(
    state: &State,
    call: &Call,
    version: TokenVersion,
    directory: Directory<'_>,
) -> Result<Response, ErrorResponse> {
    let published = published(state, call.fault.as_ref(), version, directory).await;
    let keys = published.map_err(|_| {
        ErrorResponse::new(90_033, "A transient error has occurred. Please try again.")
    })?;
    Ok(json_response(200, &json!({ "keys": keys })))
}

async fn published(
    state: &State,
    fault: Option<&Action>,
    version: TokenVersion,
    directory: Directory<'_>,
) -> io::Result<Vec<Value>> {
    let keys = &state.keys;
    let foreign = match fault {
        Some(Action::ForeignKey | Action::OtherKey) => Some(keys.foreign.get().await?),
        _ => None,
    };
    let name = directory.issuer_name();
    let entry = |signer: &JwtSigner, tenant: &str| {
        key_set_entry(
            signer,
            foreign,
            &issuer(state, TokenVersion::V2, tenant),
            version,
        )
    };
    if let (Some(signer), Some(Action::ForeignKey)) = (foreign, fault) {
        return Ok(vec![entry(signer, name)]);
    }
    let mut entries = Vec::new();
    for (_, key) in keys.entra.published() {
        entries.push(entry(key.get().await?, name));
    }
    if let Some(owner) =
        owner_of_tenant_key(state).filter(|owner| publishes(directory, version, owner))
    {
        entries.push(entry(keys.tenant.get().await?, owner.as_str()));
    }
    Ok(entries)
}

/// The entries of the key set of version 2 of `common` whose keys have been generated: all that may have signed a token.
pub(super) fn generated_keys(state: &State) -> Vec<Value> {
    let entry = |signer: &JwtSigner, tenant: &str| {
        let issuer = issuer(state, TokenVersion::V2, tenant);
        key_set_entry(signer, None, &issuer, TokenVersion::V2)
    };
    let published = state.keys.entra.published();
    let shared = published.iter().filter_map(|(_, key)| key.generated());
    let name = Directory::Common.issuer_name();
    let owned = owner_of_tenant_key(state).zip(state.keys.tenant.generated());
    shared
        .map(|signer| entry(signer, name))
        .chain(owned.map(|(owner, signer)| entry(signer, owner.as_str())))
        .collect()
}

/// A key as Entra publishes it: the key set of version 2 names the issuer, both are without `alg`. With `material`, the id names
/// another key.
fn key_set_entry(
    signer: &JwtSigner,
    material: Option<&JwtSigner>,
    issuer: &str,
    version: TokenVersion,
) -> Value {
    let mut jwk = material.unwrap_or(signer).public_jwk().clone();
    jwk["kid"] = json!(signer.id());
    jwk["use"] = json!("sig");
    if version == TokenVersion::V2 {
        jwk["issuer"] = json!(issuer);
    }
    jwk
}

/// The tenant with a separate key.
fn owner_of_tenant_key(state: &State) -> Option<&Guid> {
    state.config.tenants.first().map(|tenant| &tenant.id)
}

/// Whether a key set contains the key of a tenant: its own, and of those for all tenants the one that names the issuer of each key.
fn publishes(directory: Directory<'_>, version: TokenVersion, owner: &Guid) -> bool {
    match directory {
        Directory::Tenant(tenant) => tenant == owner,
        Directory::Common => version == TokenVersion::V2,
    }
}

const COMMON: &str = "common";
