//! Maps the errors of TLS, HTTP and the system to a [`TransportError`].
use crate::engine::classify;
use crate::{TransportError, TransportErrorKind};
use keybound_core::tls::{ConnectionState, TlsErrorClass};
use keybound_keys::LastKeyError;
use std::error::Error;
use std::io;
use std::sync::Arc;

/// The peer of a connection, for the errors on it.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Host and port, for messages.
    pub(crate) name: Arc<str>,
    pub(crate) state: Option<Arc<ConnectionState>>,
    pub(crate) last_key_error: Option<Arc<LastKeyError>>,
}

impl Peer {
    /// Logs that the first handshake is complete.
    ///
    /// # Errors
    /// [`ServerCertificate`](TransportErrorKind::ServerCertificate) where no certificate of the server was verified in it:
    /// whatever else accepted it, nothing is sent to a server that has shown none.
    pub(crate) fn connected(&self) -> Result<(), TransportError> {
        if let Some(state) = &self.state {
            if !state.has_verified_server() {
                return Err(TransportError::new(
                    TransportErrorKind::ServerCertificate,
                    format!("{} showed no certificate that could be verified", self.name),
                ));
            }
            tracing::debug!(
                peer = %self.name,
                engine = %state.engine(),
                tls = state.version(),
                certificate_requested = state.certificate_requested(),
                "connected"
            );
        }
        Ok(())
    }

    /// The TLS handshake failed.
    pub(crate) fn handshake_failed(
        &self,
        error: impl Error + Send + Sync + 'static,
    ) -> TransportError {
        let class = ErrorClass::of(&error);
        if let Some(known) = self.classified(&class) {
            return known.or_source(error);
        }
        let name = &self.name;
        let state = self.state.as_deref();
        if let Some(what) = state.and_then(ConnectionState::other_protocol) {
            return TransportError::new(TransportErrorKind::Tls, format!("{name} {what}"))
                .with_source(error);
        }
        let has_received = self
            .state
            .as_deref()
            .is_some_and(ConnectionState::has_received);
        if class.tls.no_protocol && !has_received {
            return TransportError::new(
                TransportErrorKind::HostUnsupported,
                format!("the host's TLS configuration does not allow the tls version for {name}"),
            )
            .with_source(error);
        }
        if class.closed {
            // The end may show while connecting or a moment later: it is the same.
            return TransportError::new(
                TransportErrorKind::Connect,
                format!("{name} closed the connection before the tls handshake was over"),
            )
            .with_connection_lost()
            .with_source(error);
        }
        TransportError::new(
            TransportErrorKind::Tls,
            format!("the tls handshake with {name} failed"),
        )
        .with_source(error)
    }

    /// Sending a request or reading its answer failed.
    pub(crate) fn exchange_failed(&self, error: hyper::Error) -> TransportError {
        let class = ErrorClass::of_exchange(&error);
        let (kind, what) = if error.is_parse_too_large() {
            (
                TransportErrorKind::TooLarge,
                "answered with a longer head than allowed",
            )
        } else if error.is_parse() {
            (
                TransportErrorKind::Protocol,
                "did not answer in the way of http/1.1",
            )
        } else if let Some(known) = self.classified(&class) {
            return known.or_source(error);
        } else if error.is_user() {
            (
                TransportErrorKind::InvalidRequest,
                "was not sent the whole request: its body could not be read",
            )
        } else if class.closed {
            (
                TransportErrorKind::Protocol,
                "closed the connection before it had answered in full",
            )
        } else if class.is_tls {
            (TransportErrorKind::Tls, "broke the tls connection")
        } else {
            (TransportErrorKind::Protocol, "broke the exchange")
        };
        let failed = TransportError::new(kind, format!("{} {what}", self.name));
        let lost = kind == TransportErrorKind::Protocol && class.closed && !error.is_parse();
        if lost {
            failed.with_connection_lost()
        } else {
            failed
        }
        .with_source(error)
    }

    /// Whether an exchange failed only because the connection ended.
    pub(crate) fn is_connection_lost(&self, error: &hyper::Error) -> bool {
        let class = ErrorClass::of_exchange(error);
        let blamed = class.tls.key || class.tls.certificate_alert;
        let suspicious = self.state.as_deref().is_some_and(|state| {
            state.server_changed()
                || state.server_rejection().is_some()
                || state.violation().is_some()
                || state.certificate_alert()
                || state.certificate_unconfirmed()
        });
        class.closed && !blamed && !suspicious && !error.is_parse() && !error.is_user()
    }

    /// The causes that are the same in the handshake and later, as a server may ask for the certificate at any time.
    fn classified(&self, class: &ErrorClass) -> Option<ClassifiedError> {
        let name = &self.name;
        let state = self.state.as_deref()?;
        let known = |kind, message| {
            Some(ClassifiedError {
                error: TransportError::new(kind, message),
                complete: false,
            })
        };
        if state.server_changed() {
            return known(
                TransportErrorKind::ServerCertificate,
                format!("{name} showed another certificate when it renegotiated"),
            );
        }
        if let Some(reason) = state.server_rejection() {
            return known(
                TransportErrorKind::ServerCertificate,
                format!("the certificate of {name} could not be verified: {reason}"),
            );
        }
        if let Some(what) = state.violation() {
            return known(TransportErrorKind::Tls, format!("{name} {what}"));
        }
        let in_doubt = state.certificate_unconfirmed();
        let alert = class.tls.certificate_alert || state.certificate_alert();
        if class.tls.key || class.tls.internal && in_doubt && !alert {
            let error = TransportError::new(
                TransportErrorKind::Key,
                format!("the key did not sign for {name}"),
            );
            return Some(
                match self.last_key_error.as_ref().and_then(|slot| slot.take()) {
                    Some(cause) => ClassifiedError {
                        error: error.with_source(cause),
                        complete: true,
                    },
                    None => ClassifiedError {
                        error,
                        complete: false,
                    },
                },
            );
        }
        let alert = alert || class.tls.decrypt_error && in_doubt;
        if alert && state.certificate_requested() {
            let message = if state.has_identity() {
                format!("{name} refused the client certificate")
            } else {
                format!("{name} wants a client certificate and there is none")
            };
            return known(TransportErrorKind::ClientCertificateRejected, message);
        }
        if class.closed && in_doubt {
            let message =
                format!("{name} closed the connection after the client certificate was presented");
            let error = TransportError::new(TransportErrorKind::ClientCertificateRejected, message)
                .with_connection_lost();
            return Some(ClassifiedError {
                error,
                complete: false,
            });
        }
        None
    }
}

/// An error whose kind is known.
struct ClassifiedError {
    error: TransportError,
    /// Whether its source is set.
    complete: bool,
}

impl ClassifiedError {
    fn or_source(self, source: impl Error + Send + Sync + 'static) -> TransportError {
        if self.complete {
            self.error
        } else {
            self.error.with_source(source)
        }
    }
}

/// The class of a chain of errors.
#[derive(Debug, Default, PartialEq)]
struct ErrorClass {
    /// The connection is gone.
    closed: bool,
    /// It came from the TLS library.
    is_tls: bool,
    /// Its class.
    tls: TlsErrorClass,
}

impl ErrorClass {
    fn of(error: &(dyn Error + 'static)) -> Self {
        let mut class = Self::default();
        let mut next = Some(error);
        // Chains are short; the limit ends a circular one.
        for _ in 0..16 {
            let Some(error) = next else { break };
            if let Some(tls) = classify(error) {
                class.is_tls = true;
                class.closed |= tls.closed;
                class.tls.merge(&tls);
            }
            if let Some(error) = error.downcast_ref::<io::Error>() {
                class.closed |= is_closed(error);
                // `source()` of an I/O error leaves out the error that it holds.
                next = error.get_ref().map(|inner| inner as _);
                continue;
            }
            next = error.source();
        }
        class
    }

    fn of_exchange(error: &hyper::Error) -> Self {
        let mut class = Self::of(error);
        class.closed |= error.is_incomplete_message() || error.is_closed() || error.is_canceled();
        class
    }
}

/// Whether a failure says that the connection is gone.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TlsEngine;

    #[test]
    fn no_connection_without_a_server_that_was_verified() {
        let connected = |note: fn(&ConnectionState)| {
            let state = Arc::new(ConnectionState::new(TlsEngine::OpenSsl, true));
            note(&state);
            let peer = Peer {
                name: "a.b:443".into(),
                state: Some(state),
                last_key_error: None,
            };
            peer.connected().map_err(|error| error.kind())
        };
        let refused = Err(TransportErrorKind::ServerCertificate);
        assert_eq!(connected(|_| {}), refused);
        assert_eq!(
            connected(|state| assert!(state.on_server_certificate(b"one"))),
            Ok(())
        );
        let refusals: [fn(&ConnectionState); 2] = [
            |state| {
                state.on_server_certificate(b"one");
                state.reject_server("expired");
            },
            |state| {
                state.on_server_certificate(b"one");
                state.on_server_certificate(b"two");
            },
        ];
        for note in refusals {
            assert_eq!(connected(note), refused);
        }
    }

    /// `SEC_E_ALGORITHM_MISMATCH` comes before the first byte where Windows has the versions switched off, and after it
    /// where the server has others.
    #[cfg(windows)]
    #[test]
    fn what_the_server_says_no_to_is_not_the_hosts_fault() {
        let state = Arc::new(ConnectionState::new(TlsEngine::SChannel, false));
        let peer = Peer {
            name: "a.b:443".into(),
            state: Some(Arc::clone(&state)),
            last_key_error: None,
        };
        let kind = || {
            let error = io::Error::from_raw_os_error(0x8009_0331_u32.cast_signed());
            peer.handshake_failed(error).kind()
        };
        assert_eq!(kind(), TransportErrorKind::HostUnsupported);
        state.on_record(&[22, 3, 3, 0, 1]);
        assert_eq!(kind(), TransportErrorKind::Tls);
    }
}
