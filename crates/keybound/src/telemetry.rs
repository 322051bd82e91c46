//! A counter with the name and tags of MSAL's, none of them secret or of high cardinality.
use crate::Binding;
use crate::acquire::Plan;

/// Counts a token request (`MsalMsiCounter`): with the certificate, if there was one, whether it replaced a rejected one, and
/// whether a token was issued.
pub(crate) fn count(plan: &Plan, binding: Option<&Binding>, retried: bool, issued: bool) {
    let token_type = plan.key.token_type.as_str();
    let key_type = binding.map_or("none", Binding::key_strength_label);
    let bypass = if retried || plan.challenged {
        "true"
    } else {
        "false"
    };
    // The outcome of the certificate: a failure for another reason is a success of it.
    let outcome = match (binding, retried, issued) {
        (None, false, _) => "Not found",
        (_, true, false) => "Retry Failed",
        (_, true, true) => "Retry Succeeded",
        (Some(_), false, _) => "Success",
    };
    tracing::debug!(token_type, key_type, bypass, outcome, "counted");
    #[cfg(feature = "metrics")]
    metrics::counter!(
        "MsalMsiCounter",
        "MsiSource" => "ImdsV2",
        "TokenType" => token_type,
        "bypassCache" => bypass,
        "KeyType" => key_type,
        "CredentialOutcome" => outcome,
    )
    .increment(1);
}
