use crate::engine::{classify, describe};
use keybound_core::tls::TlsErrorClass;
use std::error::Error;
use std::io;

/// The class of an error and its causes.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct ErrorClass {
    /// The connection is closed.
    pub(crate) closed: bool,
    /// Whether the TLS library caused it.
    pub(crate) is_tls: bool,
    /// The class of the TLS library's error.
    pub(crate) tls: TlsErrorClass,
    /// The text of the TLS library's error, if its own text is not in words.
    pub(crate) text: Option<String>,
}

impl ErrorClass {
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut class = Self::default();
        let mut next = Some(error);
        // Chains are short; the limit ends a circular one.
        for _ in 0..16 {
            let Some(error) = next else { break };
            if let Some(tls) = classify(error) {
                class.is_tls = true;
                class.closed |= tls.closed;
                class.tls.merge(&tls);
                class.text = class.text.or_else(|| describe(error));
            }
            if let Some(error) = error.downcast_ref::<io::Error>() {
                class.closed |= is_closed(error);
                // `source()` of an I/O error skips the error that it wraps.
                next = error.get_ref().map(|inner| inner as _);
                continue;
            }
            next = error.source();
        }
        class
    }

    pub(crate) fn of_exchange(error: &hyper::Error) -> Self {
        let mut class = Self::of(error);
        class.closed |= error.is_incomplete_message() || error.is_closed() || error.is_canceled();
        class
    }
}

/// Whether an I/O error means that the connection is closed.
fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::NotConnected
    )
}
