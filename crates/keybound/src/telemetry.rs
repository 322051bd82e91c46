//! What is counted, in the terms of MSAL: one counter with five tags, none of high cardinality, none secret.
use crate::Binding;
use crate::acquire::Plan;

/// What became of the certificate that a token was asked for with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// There was none to be had.
    NotFound,
    /// It was refused, and so was its successor, or there was none.
    RetryFailed,
    /// It was refused, and its successor was not.
    RetrySucceeded,
    /// It was not refused.
    Success,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "Not found",
            Self::RetryFailed => "Retry Failed",
            Self::RetrySucceeded => "Retry Succeeded",
            Self::Success => "Success",
        }
    }
}

/// Counts one token request (`MsalMsiCounter`).
pub(crate) fn count(plan: &Plan, binding: Option<&Binding>, bypassed: bool, outcome: Outcome) {
    let token_type = plan.key.token_type.as_str();
    let key_type = binding.map_or("none", Binding::key_strength_label);
    let bypass = if bypassed || plan.challenged {
        "true"
    } else {
        "false"
    };
    tracing::debug!(
        token_type,
        key_type,
        bypass,
        outcome = outcome.as_str(),
        "counted"
    );
    #[cfg(feature = "metrics")]
    metrics::counter!(
        "MsalMsiCounter",
        "MsiSource" => "ImdsV2",
        "TokenType" => token_type,
        "bypassCache" => bypass,
        "KeyType" => key_type,
        "CredentialOutcome" => outcome.as_str(),
    )
    .increment(1);
}
