use crate::{TransportError, TransportErrorKind};
use openssl::error::ErrorStack;

/// The error of a host whose configuration does not allow the operation.
pub(crate) fn unsupported(message: String) -> TransportError {
    TransportError::new(TransportErrorKind::HostUnsupported, message)
}

/// The error of a host whose OpenSSL rejects the client's settings.
pub(crate) fn settings_rejected(errors: ErrorStack) -> TransportError {
    unsupported("the host's OpenSSL rejects the settings of the client".to_owned())
        .with_source(errors)
}

/// Adds OpenSSL's first reason to a message.
pub(super) fn with_reason(message: &str, errors: &ErrorStack) -> String {
    let reason = errors.errors().iter().find_map(|error| {
        let reason = error.reason()?;
        Some(match error.data() {
            Some(data) if !data.is_empty() => format!("{reason} ({data})"),
            _ => reason.to_owned(),
        })
    });
    match reason {
        Some(reason) => format!("{message}: {reason}"),
        None => message.to_owned(),
    }
}
