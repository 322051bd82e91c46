use crate::config::issuer_names;
use crate::{ApiConfig, TenantsConfig};
use der::DateTime;
use keybound_core::{UnverifiedJwt, printable};
use keybound_resource::ClientCertificate;
use serde_json::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What token and certificate contain, and what the policy requires, for the texts. Nothing of it is verified here.
pub(super) struct Facts<'a> {
    jwt: Option<UnverifiedJwt>,
    certificate: Option<ClientCertificate>,
    /// Also if it is malformed.
    pub(super) has_certificate: bool,
    /// Why there are no keys, if the token is refused for it.
    pub(super) missing_keys: Vec<String>,
    policy: &'a ApiConfig,
    now: SystemTime,
}

impl<'a> Facts<'a> {
    pub(super) fn new(
        authorization: &str,
        certificate: Option<ClientCertificate>,
        policy: &'a ApiConfig,
        now: SystemTime,
    ) -> Self {
        let token = authorization.rsplit(' ').next().unwrap_or_default();
        Self {
            jwt: UnverifiedJwt::parse(token),
            has_certificate: certificate.is_some(),
            certificate,
            missing_keys: Vec::new(),
            policy,
            now,
        }
    }

    /// A claim that is a text.
    pub(super) fn claim(&self, name: &str) -> Option<&str> {
        self.jwt.as_ref()?.text(name)
    }

    /// The form of the token, with the claims of a type that no token has.
    pub(super) fn form(&self) -> String {
        let form = "a signed JWT of at most 16 KiB, RS256, without extensions";
        let Some(jwt) = &self.jwt else {
            return format!(
                "{form}; this is none: expected three parts of base64url with dots between them"
            );
        };
        let wrong = jwt.claims.iter().filter_map(|(name, value)| {
            let expected = match name.as_str() {
                "exp" | "nbf" | "iat" if !value.is_number() => "a number",
                "aud" if !value.is_string() && !value.is_array() => "a text or a list",
                "iss" | "tid" | "ver" | "appid" | "azp" | "oid" | "idtyp" | "scp" | "uti"
                    if !value.is_string() =>
                {
                    "a text"
                }
                "roles" if !value.is_array() => "a list",
                _ => return None,
            };
            Some(format!(
                "; {name} is {}, expected {expected}",
                value_text(value)
            ))
        });
        form.to_owned() + &wrong.collect::<String>()
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
            Some(value) => format!("{name} is {}{}", value_text(value), date(name, value)),
            None => format!("{name} is missing"),
        });
        texts.collect::<Vec<_>>().join(", ")
    }

    pub(super) fn key_id(&self) -> String {
        let header = self.jwt.as_ref().and_then(|jwt| jwt.header.get("kid"));
        let named = match header {
            Some(value) => format!("the token names the key {}", value_text(value)),
            None => "the token names no key".to_owned(),
        };
        let missing = self.missing_keys.iter();
        named
            + &missing
                .map(|cause| format!("; {cause}"))
                .collect::<String>()
    }

    pub(super) fn certificate(&self) -> String {
        let Some(certificate) = &self.certificate else {
            return match self.has_certificate {
                true => "the connection has one that is no X.509 certificate".to_owned(),
                false => "the connection has none".to_owned(),
            };
        };
        let dates = certificate.certificate();
        format!(
            "{}, valid from {} to {}; now is {}",
            self.presented(),
            rfc3339(dates.not_before()),
            rfc3339(dates.not_after()),
            rfc3339(self.now),
        )
    }

    fn presented(&self) -> String {
        match &self.certificate {
            Some(certificate) => {
                let thumbprint = certificate.thumbprint().as_str();
                format!("the connection has the certificate {thumbprint}")
            }
            None => "the connection has none".to_owned(),
        }
    }

    pub(super) fn binding(&self) -> String {
        let named = self.jwt.as_ref().and_then(UnverifiedJwt::confirmation);
        let named = named.map_or_else(
            || "the token names no certificate".to_owned(),
            |named| format!("the token names the certificate {}", printable(named, 64)),
        );
        format!("{named}; {}", self.presented())
    }

    pub(super) fn issuer(&self) -> String {
        let accepted = match &self.policy.tenants {
            TenantsConfig::Listed(tenants) => tenants.join(", "),
            TenantsConfig::Any(_) => "any".to_owned(),
        };
        let claims = self.claims(&["iss", "tid"], &[]);
        let issuers = issuer_names(self.policy).join(", ");
        format!("{claims}; accepted issuers: {issuers}; accepted tenants: {accepted}")
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
        let now = rfc3339(self.now);
        format!("{dates}; now is {now}; accepted: between nbf and exp with {skew} s of skew{age}")
    }

    pub(super) fn names(&self) -> String {
        let identity = match self.policy.managed_identity_names {
            true => "CN and DC are those of a managed identity",
            false => "any names",
        };
        let found = self
            .certificate
            .as_ref()
            .map_or_else(String::new, |presented| {
                let certificate = presented.certificate();
                let (subject, issuer) = (certificate.subject(), certificate.issuer());
                let (subject, issuer) =
                    (printable(subject, MAX_CLAIM), printable(issuer, MAX_CLAIM));
                format!("; the certificate is that of {subject}, issued by {issuer}")
            });
        match &self.policy.trusted_issuers {
            Some(path) => format!(
                "accepted: {identity}; the issuer is in {}{found}",
                path.display()
            ),
            None => format!("accepted: {identity}; any issuer{found}"),
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

/// As in the token: a text in quotes is not the number that looks like it.
fn value_text(value: &Value) -> String {
    printable(&value.to_string(), MAX_CLAIM)
}

/// A date for people.
fn date(name: &str, value: &Value) -> String {
    match (name, value.as_u64()) {
        ("exp" | "nbf" | "iat", Some(seconds)) => {
            let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
            time.map_or_else(String::new, |time| format!(" ({})", rfc3339(time)))
        }
        _ => String::new(),
    }
}

fn rfc3339(time: SystemTime) -> String {
    DateTime::from_system_time(time)
        .map_or_else(|_| "out of range".to_owned(), |time| time.to_string())
}

/// That of `skew`, in seconds.
const DEFAULT_SKEW: u64 = 300;
const MAX_CLAIM: usize = 200;
