use crate::certificate_rules::CertificatePolicy;
use crate::claims::TokenClaims;
use crate::{Caller, ClientCertificate, Issuer, Reason, Schemes, TokenVersion};
use keybound_core::Guid;
use std::borrow::Cow;
use std::collections::HashMap;

/// Which tokens, clients and certificates a verifier accepts.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) audiences: Vec<String>,
    pub(crate) issuers: Vec<Issuer>,
    pub(crate) tenants: Tenants,
    /// `None`: any client.
    pub(crate) clients: Option<Vec<String>>,
    pub(crate) roles: Vec<String>,
    pub(crate) app_only: bool,
    pub(crate) accepts_users: bool,
    /// Of users.
    pub(crate) scopes: Vec<String>,
    pub(crate) schemes: Schemes,
    /// In seconds.
    pub(crate) skew: i64,
    /// In seconds.
    pub(crate) max_age: Option<i64>,
    pub(crate) certificate: CertificatePolicy,
}

/// The accepted tenants.
#[derive(Debug)]
pub(crate) enum Tenants {
    Any,
    /// The positions of the accepted ones.
    Listed(HashMap<Guid, usize>),
}

impl Tenants {
    /// Each tenant, in the order of [`TokenIssuer::tenant_index`]; `None` for any.
    pub(crate) fn in_order(&self) -> Vec<Option<&Guid>> {
        let Self::Listed(listed) = self else {
            return vec![None];
        };
        let mut tenants: Vec<_> = listed.iter().collect();
        tenants.sort_by_key(|(_, index)| **index);
        tenants
            .into_iter()
            .map(|(tenant, _)| Some(tenant))
            .collect()
    }
}

impl Policy {
    /// The issuer that a token names, and its tenant. The signature is verified later; until then both are used only to find the
    /// key.
    pub(crate) fn token_issuer(&self, claims: &TokenClaims<'_>) -> Result<TokenIssuer, Reason> {
        let (Some(iss), Some(tid)) = (&claims.issuer, &claims.tenant) else {
            return Err(Reason::IssuerMismatch);
        };
        let tenant = Guid::parse(tid).ok_or(Reason::TenantMismatch)?;
        let issuer = self
            .issuers
            .iter()
            .position(|issuer| issuer.is_name(iss, tid))
            .ok_or(Reason::IssuerMismatch)?;
        let tenant_index = match &self.tenants {
            Tenants::Any => 0,
            Tenants::Listed(listed) => *listed.get(&tenant).ok_or(Reason::TenantMismatch)?,
        };
        Ok(TokenIssuer {
            issuer,
            tenant,
            tenant_index,
        })
    }

    /// An issuer that is limited neither to the tenant in its name nor to one that is accepted.
    pub(crate) fn issuer_without_tenant(&self) -> Option<&Issuer> {
        let is_accepted = |tenant: &Guid| match &self.tenants {
            Tenants::Any => true,
            Tenants::Listed(listed) => listed.contains_key(tenant),
        };
        let has_tenant =
            |issuer: &&Issuer| issuer.has_tenant() && issuer.only_tenant().is_none_or(is_accepted);
        self.issuers.iter().find(|issuer| !has_tenant(issuer))
    }

    pub(crate) fn issuer(&self, token_issuer: &TokenIssuer) -> &Issuer {
        &self.issuers[token_issuer.issuer]
    }

    /// Checks the claims of a token whose signature, issuer and binding were verified.
    pub(crate) fn caller(
        &self,
        claims: &TokenClaims<'_>,
        token_issuer: TokenIssuer,
        certificate: &ClientCertificate,
        now: i64,
    ) -> Result<Caller, Reason> {
        let audience = self.audience(claims).ok_or(Reason::AudienceMismatch)?;
        let version = self.issuer(&token_issuer).version();
        let caller = caller(claims, token_issuer.tenant, version, audience, certificate)?;
        self.check_dates(&caller, now)?;
        self.certificate
            .check(certificate, &caller.client, &caller.tenant, now)?;
        self.check_rights(&caller)?;
        Ok(caller)
    }

    /// Whether a token may be used now, for each request with it.
    pub(crate) fn check_dates(&self, caller: &Caller, now: i64) -> Result<(), Reason> {
        if now >= caller.expires.saturating_add(self.skew) {
            return Err(Reason::TokenExpired);
        }
        let dates = [caller.not_before, caller.issued_at];
        let is_later = |date: i64| now < date.saturating_sub(self.skew);
        if dates.into_iter().flatten().any(is_later) {
            return Err(Reason::TokenNotYetValid);
        }
        if let Some(max_age) = self.max_age {
            let issued_at = caller.issued_at.ok_or(Reason::ClaimsMalformed)?;
            if now >= issued_at.saturating_add(max_age).saturating_add(self.skew) {
                return Err(Reason::TokenTooOld);
            }
        }
        Ok(())
    }

    fn audience(&self, claims: &TokenClaims<'_>) -> Option<&str> {
        let is_named = |accepted: &&String| {
            let mut named = claims.audiences.iter();
            named.any(|audience| audience == accepted.as_str())
        };
        self.audiences.iter().find(is_named).map(String::as_str)
    }

    fn check_rights(&self, caller: &Caller) -> Result<(), Reason> {
        let is_client = |client: &String| client.eq_ignore_ascii_case(&caller.client);
        if let Some(clients) = &self.clients
            && !clients.iter().any(is_client)
        {
            return Err(Reason::ClientNotAllowed);
        }
        let refuses_users = self.app_only || !self.accepts_users;
        if (self.app_only && !caller.app_only) || (refuses_users && caller.is_user) {
            return Err(Reason::NotAppOnly);
        }
        if caller.is_user && !self.scopes.iter().all(|scope| caller.has_scope(scope)) {
            return Err(Reason::ScopeMissing);
        }
        if !self.roles.iter().all(|role| caller.has_role(role)) {
            return Err(Reason::RoleMissing);
        }
        Ok(())
    }
}

/// The accepted issuer and tenant that a token names.
#[derive(Debug)]
pub(crate) struct TokenIssuer {
    pub(crate) issuer: usize,
    pub(crate) tenant: Guid,
    /// The position of the tenant in the list; 0 if any tenant is accepted.
    pub(crate) tenant_index: usize,
}

/// The caller that the claims name.
fn caller(
    claims: &TokenClaims<'_>,
    tenant: Guid,
    version: TokenVersion,
    audience: &str,
    certificate: &ClientCertificate,
) -> Result<Caller, Reason> {
    let object = match &claims.object {
        Some(object) => Some(Guid::parse(object).ok_or(Reason::ClaimsMalformed)?),
        None => None,
    };
    let text = |claim: &Option<Cow<'_, str>>| claim.as_deref().map(Into::into);
    Ok(Caller {
        tenant,
        client: client(claims, version)
            .ok_or(Reason::ClaimsMalformed)?
            .into(),
        object,
        roles: claims.roles.iter().map(|role| (&**role).into()).collect(),
        scopes: claims.scopes.as_deref().unwrap_or_default().into(),
        token_id: text(&claims.token_id),
        resource_id: text(&claims.resource_id),
        app_only: is_app_only(claims),
        is_user: is_user(claims),
        supports_claims_challenges: claims.capabilities.iter().any(|value| value == "cp1"),
        version,
        audience: audience.into(),
        issued_at: claims.issued_at,
        not_before: claims.not_before,
        expires: claims.expires.ok_or(Reason::ClaimsMalformed)?,
        thumbprint: certificate.thumbprint().clone(),
    })
}

/// The client that a token of this version names. Where the claims of both versions are present they must agree.
fn client<'a>(claims: &'a TokenClaims<'_>, version: TokenVersion) -> Option<&'a str> {
    if claims.version.as_deref() != Some(version.claim()) {
        return None;
    }
    let (client, other) = match version {
        TokenVersion::V1 => (&claims.app_id, &claims.authorized_party),
        TokenVersion::V2 => (&claims.authorized_party, &claims.app_id),
    };
    let client = client.as_deref().filter(|client| !client.is_empty())?;
    let agrees = |other: &str| other.eq_ignore_ascii_case(client);
    other.as_deref().is_none_or(agrees).then_some(client)
}

/// The tokens of users have scopes, those of applications have none.
fn is_user(claims: &TokenClaims<'_>) -> bool {
    let identity_type = claims.identity_type.as_deref();
    claims.scopes.is_some() || identity_type.is_some_and(|identity_type| identity_type != "app")
}

/// `idtyp` is an optional claim: without it, a token with roles and without scopes is an application's.
fn is_app_only(claims: &TokenClaims<'_>) -> bool {
    match claims.identity_type.as_deref() {
        Some(identity_type) => identity_type == "app" && claims.scopes.is_none(),
        None => !claims.roles.is_empty() && claims.scopes.is_none(),
    }
}
