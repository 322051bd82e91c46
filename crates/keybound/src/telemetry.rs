//! Counters of token requests: one with the name and tags of MSAL's, and one of exchanges. No tag is secret or of high cardinality.
use crate::Binding;
use crate::acquire::Plan;
use crate::confidential::Credential;
use keybound_core::{Error, ErrorKind, ManagedIdentitySource, TokenType};

/// Counts a request of a plain bearer token to a source, and its failure, if any. MSAL's outcomes are those of certificates, of
/// which none is a failed request: `Failed` is our own.
pub(crate) fn count_source(plan: &Plan, source: ManagedIdentitySource, failure: Option<&Error>) {
    let outcome = match failure.map(Error::kind) {
        None => "Success",
        Some(ErrorKind::IdentityNotFound) => "Not found",
        Some(_) => "Failed",
    };
    increment(Tags {
        source: name(source),
        token_type: plan.key.token_type.as_str(),
        key_type: "none",
        bypass: plan.challenged,
        outcome,
    });
}

/// Counts a token request over mutual TLS (`MsalMsiCounter`): with the certificate, if there was one, whether it replaced a
/// rejected one, and whether a token was issued.
pub(crate) fn count(plan: &Plan, binding: Option<&Binding>, retried: bool, issued: bool) {
    // The outcome of the certificate: a failure for another reason is a success of it.
    let outcome = match (binding, retried, issued) {
        (None, false, _) => "Not found",
        (_, true, false) => "Retry Failed",
        (_, true, true) => "Retry Succeeded",
        (Some(_), false, _) => "Success",
    };
    increment(Tags {
        source: "ImdsV2",
        token_type: plan.key.token_type.as_str(),
        key_type: binding.map_or("none", Binding::key_strength_label),
        bypass: retried || plan.challenged,
        outcome,
    });
}

/// An exchange of an assertion for a token of an app registration.
pub(crate) struct Exchange<'a> {
    pub(crate) credential: &'a Credential,
    pub(crate) token_type: TokenType,
    /// That of a bound assertion.
    pub(crate) binding: Option<&'a Binding>,
    /// Whether another assertion was refused before.
    pub(crate) replaced: bool,
    /// `Success`, `Refused` (the assertion or its certificate) or `Failed`.
    pub(crate) outcome: &'static str,
}

/// Counts an exchange (`KeyboundExchangeCounter`).
pub(crate) fn count_exchange(exchange: &Exchange<'_>) {
    let assertion = match exchange.credential {
        Credential::ManagedIdentity(_) => "ManagedIdentity",
        Credential::TokenFile(_) => "TokenFile",
        Credential::Callback(_) => "Callback",
    };
    let token_type = exchange.token_type.as_str();
    let key_type = exchange.binding.map_or("none", Binding::key_strength_label);
    let replaced = if exchange.replaced { "true" } else { "false" };
    let outcome = exchange.outcome;
    tracing::debug!(
        assertion,
        token_type,
        key_type,
        replaced,
        outcome,
        "counted exchange"
    );
    #[cfg(feature = "metrics")]
    metrics::counter!(
        "KeyboundExchangeCounter",
        "Assertion" => assertion,
        "TokenType" => token_type,
        "KeyType" => key_type,
        "AssertionReplaced" => replaced,
        "Outcome" => outcome,
    )
    .increment(1);
}

struct Tags {
    source: &'static str,
    token_type: &'static str,
    key_type: &'static str,
    bypass: bool,
    outcome: &'static str,
}

fn increment(tags: Tags) {
    let Tags {
        source,
        token_type,
        key_type,
        outcome,
        ..
    } = tags;
    let bypass = if tags.bypass { "true" } else { "false" };
    tracing::debug!(source, token_type, key_type, bypass, outcome, "counted");
    #[cfg(feature = "metrics")]
    metrics::counter!(
        "MsalMsiCounter",
        "MsiSource" => source,
        "TokenType" => token_type,
        "bypassCache" => bypass,
        "KeyType" => key_type,
        "CredentialOutcome" => outcome,
    )
    .increment(1);
}

/// The name of a source in MSAL.
fn name(source: ManagedIdentitySource) -> &'static str {
    match source {
        ManagedIdentitySource::AppService => "AppService",
        ManagedIdentitySource::ServiceFabric => "ServiceFabric",
        ManagedIdentitySource::AzureArc => "AzureArc",
        ManagedIdentitySource::MachineLearning => "MachineLearning",
        ManagedIdentitySource::CloudShell => "CloudShell",
        _ => "Imds",
    }
}
