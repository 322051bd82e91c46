use crate::{TransportError, TransportErrorKind};
use openssl::error::ErrorStack;

/// The error of a host whose configuration does not allow the operation.
pub(crate) fn unsupported(message: String) -> TransportError {
    TransportError::new(TransportErrorKind::HostUnsupported, message)
}

/// The error of a host whose OpenSSL rejects the client's settings.
pub(crate) fn settings_rejected(errors: ErrorStack) -> TransportError {
    unsupported(with_reason(
        "the host's OpenSSL rejects the settings of the client",
        &errors,
    ))
}

/// Adds OpenSSL's first reason to a message.
pub(crate) fn with_reason(message: &str, errors: &ErrorStack) -> String {
    match errors.errors().iter().find_map(reason) {
        Some(reason) => format!("{message}: {reason}"),
        None => message.to_owned(),
    }
}

/// All reasons, the first one first; `None` if there are none.
pub(crate) fn reasons(errors: &ErrorStack) -> Option<String> {
    let mut reasons: Vec<_> = errors.errors().iter().filter_map(reason).collect();
    reasons.dedup();
    (!reasons.is_empty()).then(|| reasons.join(", "))
}

fn reason(error: &openssl::error::Error) -> Option<String> {
    let reason = error.reason()?;
    Some(match error.data() {
        Some(data) if !data.is_empty() => format!("{reason} ({data})"),
        _ => reason.to_owned(),
    })
}
