mod facts;

use crate::metrics::Metrics;
use crate::{Apis, Config, ConfigError};
use facts::Facts;
use keybound_resource::{ClientCertificate, Reason};
use serde::Serialize;
use std::time::SystemTime;

/// What each step of the verification of a token found.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The name of the API whose policy was used.
    pub host: String,
    /// Whether the request would be accepted.
    pub accepted: bool,
    /// The status of the response.
    pub status: u16,
    /// The code of the reason.
    pub reason: Option<String>,
    /// The header `WWW-Authenticate` of the response.
    pub challenge: Option<String>,
    /// The steps, in their order.
    pub steps: Vec<Step>,
}

/// A step.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Step {
    /// Its name.
    pub name: &'static str,
    /// What it found.
    pub outcome: Outcome,
    /// In words.
    pub text: String,
}

/// What a step found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// It is as the policy requires.
    Passed,
    /// The request is refused for it.
    Failed,
    /// An earlier step failed.
    NotChecked,
}

/// Verifies one token with the policy of a host, and explains each step. The keys are fetched as the daemon fetches them.
///
/// # Errors
/// If the configuration is not usable, or no API has this host.
pub async fn explain(
    config: &Config,
    host: &str,
    authorization: &str,
    certificate: Option<&[u8]>,
) -> Result<Explanation, ConfigError> {
    let apis = Apis::build(config, &Metrics::default(), &|_, builder| builder, None)?;
    let api = apis.find(host).ok_or_else(|| unknown_host(config, host))?;
    // What is missing is found by the verification.
    let _ = apis.fetch_keys().await;
    let parsed = certificate.map(ClientCertificate::from_der).transpose();
    let verified = api.verifier.authenticate(authorization, &parsed).await;
    let refusal = verified.as_ref().err();
    let reason = refusal.map(keybound_resource::Refusal::reason);
    let policy = config.apis.iter().find(|policy| policy.name() == api.name);
    let policy = policy.ok_or_else(|| unknown_host(config, host))?;
    let mut facts = Facts::new(authorization, parsed.ok().flatten(), policy, now());
    facts.has_certificate = certificate.is_some();
    if reason == Some(Reason::KeysUnavailable) {
        facts.missing_keys = api.missing_keys_of(facts.claim("iss"));
    }
    Ok(Explanation {
        host: api.name.clone(),
        accepted: reason.is_none(),
        status: refusal.map_or(200, keybound_resource::Refusal::status),
        reason: reason.map(|reason| reason.code().to_owned()),
        challenge: refusal.and_then(keybound_resource::Refusal::challenge),
        steps: steps(reason, &facts),
    })
}

fn unknown_host(config: &Config, host: &str) -> ConfigError {
    let known = config.apis.iter().flat_map(|api| &api.hosts);
    let known: Vec<_> = known.map(String::as_str).collect();
    ConfigError::new(format!(
        "no API has the host {host}: the hosts are {}",
        known.join(", ")
    ))
}

fn now() -> SystemTime {
    #[expect(clippy::disallowed_methods, reason = "the verifiers have this clock")]
    SystemTime::now()
}

/// The verifier returns the first reason, and its steps have a fixed order: those before it passed, those after it were not reached.
fn steps(reason: Option<Reason>, facts: &Facts<'_>) -> Vec<Step> {
    let failed = reason.map(|reason| (step_of(reason), reason));
    let position = failed.and_then(|(name, _)| STEPS.iter().position(|step| *step == name));
    STEPS
        .into_iter()
        .enumerate()
        .map(|(index, name)| {
            let (outcome, text) = match position {
                Some(position) if index == position => {
                    let reason = failed.map_or("", |(_, reason)| reason.description());
                    (Outcome::Failed, format!("{reason}: {}", text(name, facts)))
                }
                Some(position) if index > position => {
                    (Outcome::NotChecked, "not checked".to_owned())
                }
                _ => (Outcome::Passed, text(name, facts)),
            };
            Step {
                name,
                outcome,
                text,
            }
        })
        .collect()
}

fn text(step: &str, facts: &Facts<'_>) -> String {
    match step {
        "header" => "one Authorization header with one accepted scheme and one token".to_owned(),
        "form" => facts.form(),
        "certificate" => facts.certificate(),
        "binding" => facts.binding(),
        "issuer" => facts.issuer(),
        "key" => facts.key_id(),
        "signature" => "RSASSA-PKCS1-v1_5 with SHA-256".to_owned(),
        "audience" => facts.audience(),
        "claims" => facts.claims(&["ver", "exp"], &["appid", "azp", "oid", "iat"]),
        "dates" => facts.dates(),
        "names" => facts.names(),
        _ => facts.rights(),
    }
}

fn step_of(reason: Reason) -> &'static str {
    match reason {
        Reason::TokenMissing
        | Reason::AuthorizationRepeated
        | Reason::AuthorizationMalformed
        | Reason::SchemeUnsupported => "header",
        Reason::CertificateMissing
        | Reason::CertificateMalformed
        | Reason::CertificateRepeated
        | Reason::CertificateExpired
        | Reason::CertificateNotYetValid
        | Reason::CertificateKeyWeak => "certificate",
        Reason::NotBound | Reason::BindingMismatch => "binding",
        Reason::IssuerMismatch | Reason::TenantMismatch => "issuer",
        Reason::KeyUnknown | Reason::KeyIssuerMismatch | Reason::KeysUnavailable => "key",
        Reason::SignatureInvalid => "signature",
        Reason::AudienceMismatch => "audience",
        Reason::ClaimsMalformed => "claims",
        Reason::TokenExpired | Reason::TokenNotYetValid | Reason::TokenTooOld => "dates",
        Reason::CertificateNames | Reason::CertificateUntrusted => "names",
        Reason::ClientNotAllowed
        | Reason::NotAppOnly
        | Reason::RoleMissing
        | Reason::ScopeMissing
        | Reason::InsufficientClaims
        | Reason::AccessRevoked => "rights",
        _ => "form",
    }
}

/// The names, in the order of the verification.
const STEPS: [&str; 12] = [
    "header",
    "form",
    "certificate",
    "binding",
    "issuer",
    "key",
    "signature",
    "audience",
    "claims",
    "dates",
    "names",
    "rights",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form_has_its_own_reasons_only() {
        let of_form = Reason::ALL
            .iter()
            .copied()
            .filter(|reason| step_of(*reason) == "form");
        let codes: Vec<_> = of_form.map(Reason::code).collect();
        let expected = [
            "token_too_long",
            "token_malformed",
            "algorithm_unsupported",
            "header_unsupported",
        ];
        assert_eq!(codes, expected);
        assert!(
            Reason::ALL
                .iter()
                .all(|reason| STEPS.contains(&step_of(*reason)))
        );
    }
}
