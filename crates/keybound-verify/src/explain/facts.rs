use crate::{ApiConfig, TenantsConfig};
use keybound_core::{UnverifiedJwt, X5tS256, printable};
use serde_json::Value;

/// What token and certificate contain, and what the policy requires, for the texts. Nothing of it is verified here.
pub(super) struct Facts<'a> {
    jwt: Option<UnverifiedJwt>,
    thumbprint: Option<String>,
    policy: &'a ApiConfig,
}

impl<'a> Facts<'a> {
    pub(super) fn new(
        authorization: &str,
        certificate: Option<&[u8]>,
        policy: &'a ApiConfig,
    ) -> Self {
        let token = authorization.rsplit(' ').next().unwrap_or_default();
        Self {
            jwt: UnverifiedJwt::parse(token),
            thumbprint: certificate.map(|der| X5tS256::of_der(der).as_str().to_owned()),
            policy,
        }
    }

    /// Claims by name, those that are absent left out if `optional`.
    pub(super) fn claims(&self, names: &[&str], optional: &[&str]) -> String {
        let Some(jwt) = &self.jwt else {
            return "the token is not a JWT".to_owned();
        };
        let required = names.iter().map(|name| (*name, jwt.claims.get(*name)));
        let optional = optional.iter().map(|name| (*name, jwt.claims.get(*name)));
        let optional = optional.filter(|(_, value)| value.is_some());
        let texts = required.chain(optional).map(|(name, value)| match value {
            Some(value) => format!("{name} is {}", value_text(value)),
            None => format!("{name} is missing"),
        });
        texts.collect::<Vec<_>>().join(", ")
    }

    pub(super) fn key_id(&self) -> String {
        let header = self.jwt.as_ref().and_then(|jwt| jwt.header.get("kid"));
        match header {
            Some(value) => format!("the token names the key {}", value_text(value)),
            None => "the token names no key".to_owned(),
        }
    }

    pub(super) fn certificate(&self) -> String {
        match &self.thumbprint {
            Some(thumbprint) => format!("the connection has the certificate {thumbprint}"),
            None => "the connection has none".to_owned(),
        }
    }

    pub(super) fn binding(&self) -> String {
        let named = self.jwt.as_ref().and_then(UnverifiedJwt::confirmation);
        let named = named.map_or_else(
            || "the token names no certificate".to_owned(),
            |named| format!("the token names the certificate {}", printable(named, 64)),
        );
        format!("{named}; {}", self.certificate())
    }

    pub(super) fn issuer(&self) -> String {
        let accepted = match &self.policy.tenants {
            TenantsConfig::Listed(tenants) => tenants.join(", "),
            TenantsConfig::Any(_) => "any".to_owned(),
        };
        let claims = self.claims(&["iss", "tid"], &[]);
        format!("{claims}; accepted tenants: {accepted}")
    }

    pub(super) fn audience(&self) -> String {
        let accepted = self.policy.audiences.join(", ");
        format!("{}; accepted: {accepted}", self.claims(&["aud"], &[]))
    }

    pub(super) fn dates(&self) -> String {
        let age = match self.policy.max_age {
            Some(seconds) => format!(", at most {seconds} s after iat"),
            None => String::new(),
        };
        let skew = self.policy.skew.unwrap_or(DEFAULT_SKEW);
        let dates = self.claims(&["exp"], &["nbf", "iat"]);
        format!("{dates}; accepted: between nbf and exp with {skew} s of skew{age}")
    }

    pub(super) fn names(&self) -> String {
        let identity = match self.policy.managed_identity_names {
            true => "CN and DC are those of a managed identity",
            false => "any names",
        };
        match &self.policy.trusted_issuers {
            Some(path) => format!("{identity}; the issuer is in {}", path.display()),
            None => format!("{identity}; any issuer"),
        }
    }

    pub(super) fn rights(&self) -> String {
        let claims = self.claims(&[], &["appid", "azp", "idtyp", "roles", "scp"]);
        let listed = |name: &str, values: &Option<Vec<String>>| match values {
            None => format!("any {name}"),
            Some(values) => format!("{name} {}", values.join(", ")),
        };
        let kind = match (self.policy.app_only, accepts_users(self.policy)) {
            (true, _) => "certainly applications",
            (false, true) => "applications and users",
            (false, false) => "applications",
        };
        let policy = self.policy;
        let (clients, roles) = (
            listed("client", &policy.clients),
            listed("roles", &policy.roles),
        );
        let scopes = listed("scopes", &policy.scopes);
        format!("{claims}; accepted: {kind}, {clients}, {roles}, {scopes}")
    }
}

fn accepts_users(policy: &ApiConfig) -> bool {
    policy.users == Some(true) || policy.scopes.is_some()
}

fn value_text(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    printable(&text, MAX_CLAIM)
}

/// That of `skew`, in seconds.
const DEFAULT_SKEW: u64 = 300;
const MAX_CLAIM: usize = 200;
