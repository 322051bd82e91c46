//! A counter with the name and tags of MSAL's, none of them secret or of high cardinality.
use crate::Binding;
use crate::acquire::Plan;
use keybound_core::{Error, ErrorKind, ManagedIdentitySource};

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
