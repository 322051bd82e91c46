use crate::error_class::ErrorClass;
use crate::{TransportError, TransportErrorKind};
use keybound_core::BoxError;
use keybound_core::tls::{ConnectionState, ServerCertificate};
use keybound_keys::LastKeyError;
use std::error::Error;
use std::sync::Arc;

/// The peer of a connection. Converts the errors of TLS, HTTP and the system on it to [`TransportError`]s.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Host and port, for messages.
    pub(crate) name: Arc<str>,
    /// `None` for plain HTTP.
    pub(crate) state: Option<Arc<ConnectionState>>,
    pub(crate) last_key_error: Option<Arc<LastKeyError>>,
}

impl Peer {
    /// Checks the server after the first handshake, and logs the connection.
    ///
    /// # Errors
    /// [`ServerCertificate`](TransportErrorKind::ServerCertificate) if the handshake verified no server certificate:
    /// whatever else accepted the server, nothing is sent to one without a certificate.
    pub(crate) fn check_connected(&self) -> Result<(), TransportError> {
        if let Some(state) = &self.state {
            if !state.has_verified_server() {
                return Err(TransportError::new(
                    TransportErrorKind::ServerCertificate,
                    format!(
                        "{} presented no certificate that could be verified",
                        self.name
                    ),
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

    /// The error of a failed TLS handshake.
    pub(crate) fn handshake_failed(
        &self,
        error: impl Error + Send + Sync + 'static,
    ) -> TransportError {
        let failed = self.handshake_error(error);
        self.with_certificates(failed)
    }

    fn handshake_error(&self, error: impl Error + Send + Sync + 'static) -> TransportError {
        use TransportErrorKind::{Connect, HostUnsupported, Tls};
        let class = ErrorClass::of(&error);
        if let Some(classified) = self.classified(&class) {
            return or_source(classified, class, error);
        }
        let name = &self.name;
        let state = self.state.as_deref();
        let has_received = state.is_some_and(ConnectionState::has_received);
        let failed = if let Some(protocol) = state.and_then(ConnectionState::other_protocol) {
            TransportError::new(Tls, format!("{name} {protocol}"))
        } else if class.tls.no_protocol && !has_received {
            TransportError::new(
                HostUnsupported,
                format!("the host's TLS configuration does not allow the tls version for {name}"),
            )
        } else if class.closed {
            // The same kind as when the server closes a moment earlier, while connecting.
            TransportError::new(
                Connect,
                format!("{name} closed the connection during the tls handshake"),
            )
            .with_connection_lost()
        } else {
            TransportError::new(Tls, format!("the tls handshake with {name} failed"))
        };
        failed.with_source(in_words(class, error))
    }

    /// The error of sending a request or reading its response.
    pub(crate) fn exchange_failed(&self, error: hyper::Error) -> TransportError {
        let failed = self.exchange_error(error);
        self.with_certificates(failed)
    }

    fn exchange_error(&self, error: hyper::Error) -> TransportError {
        use TransportErrorKind::{InvalidRequest, Protocol, Tls, TooLarge};
        let class = ErrorClass::of_exchange(&error);
        let (kind, message) = if error.is_parse_too_large() {
            (TooLarge, "sent a larger response head than allowed")
        } else if error.is_parse() {
            (Protocol, "sent a response that is not http/1.1")
        } else if let Some(classified) = self.classified(&class) {
            return or_source(classified, class, error);
        } else if error.is_user() {
            (
                InvalidRequest,
                "did not receive the whole request: its body could not be read",
            )
        } else if class.closed {
            (
                Protocol,
                "closed the connection before its response was complete",
            )
        } else if class.is_tls {
            (Tls, "failed in tls")
        } else {
            (Protocol, "failed in http/1.1")
        };
        let failed = TransportError::new(kind, format!("{} {message}", self.name));
        let lost = kind == Protocol && class.closed && !error.is_parse();
        if lost {
            failed.with_connection_lost()
        } else {
            failed
        }
        .with_source(in_words(class, error))
    }

    /// Adds the certificate of the server that was verified, or the one for which it was rejected.
    fn with_certificates(&self, error: TransportError) -> TransportError {
        let Some(state) = self.state.as_deref() else {
            return error;
        };
        let verified = state.server_certificate();
        let verified = verified.filter(|_| state.has_verified_server());
        let parse = |certificate: Option<&ServerCertificate>| certificate?.parse().ok();
        error
            .with_server(parse(verified))
            .with_rejected(parse(state.rejected_certificate()))
    }

    /// The error of a connection that was closed before a request.
    pub(crate) fn closed(&self) -> TransportError {
        TransportError::new(
            TransportErrorKind::Connect,
            format!("{} closed the connection", self.name),
        )
        .with_connection_lost()
    }

    /// Whether an exchange failed for no other reason than that the connection was closed.
    pub(crate) fn is_connection_lost(&self, error: &hyper::Error) -> bool {
        let class = ErrorClass::of_exchange(error);
        let has_tls_reason = class.tls.key || class.tls.certificate_alert;
        let has_other_reason = self.state.as_deref().is_some_and(|state| {
            state.server_changed()
                || state.server_rejection().is_some()
                || state.violation().is_some()
                || state.certificate_alert()
                || state.certificate_unconfirmed()
        });
        class.closed
            && !has_tls_reason
            && !has_other_reason
            && !error.is_parse()
            && !error.is_user()
    }

    /// The errors that occur in the first handshake and later alike, as a server may request the certificate at any time.
    fn classified(&self, class: &ErrorClass) -> Option<TransportError> {
        use TransportErrorKind::{ClientCertificateRejected, Key, ServerCertificate, Tls};
        let name = &self.name;
        let state = self.state.as_deref()?;
        let classified = |kind, message| Some(TransportError::new(kind, message));
        if state.server_changed() {
            return classified(
                ServerCertificate,
                format!("{name} presented another certificate in a renegotiation"),
            );
        }
        if let Some(reason) = state.server_rejection() {
            return classified(
                ServerCertificate,
                format!("the certificate of {name} could not be verified: {reason}"),
            );
        }
        if let Some(violation) = state.violation() {
            return classified(Tls, format!("{name} {violation}"));
        }
        let unconfirmed = state.certificate_unconfirmed();
        let alert = class.tls.certificate_alert || state.certificate_alert();
        if class.tls.key || class.tls.internal && unconfirmed && !alert {
            let error = TransportError::new(Key, format!("the key did not sign for {name}"));
            let cause = self.last_key_error.as_ref().and_then(|slot| slot.take());
            return Some(match cause {
                Some(cause) => error.with_source(cause),
                None => error,
            });
        }
        let alert = alert || class.tls.decrypt_error && unconfirmed;
        if alert && state.certificate_requested() {
            let message = if state.has_identity() {
                format!("{name} rejected the client certificate")
            } else {
                format!("{name} requires a client certificate, and the client has none")
            };
            return classified(ClientCertificateRejected, message);
        }
        if class.closed && unconfirmed {
            let message =
                format!("{name} closed the connection after the client certificate was presented");
            return classified(ClientCertificateRejected, message)
                .map(TransportError::with_connection_lost);
        }
        None
    }
}

/// Adds the source to an error that has none. For a rejected server, the source says less than the reason in the error.
fn or_source(
    error: TransportError,
    class: ErrorClass,
    source: impl Error + Send + Sync + 'static,
) -> TransportError {
    match error.source() {
        None if error.kind() != TransportErrorKind::ServerCertificate => {
            error.with_source(in_words(class, source))
        }
        _ => error,
    }
}

/// The error as a source: as the text of the TLS library's error, if its own text is not in words.
fn in_words(class: ErrorClass, error: impl Error + Send + Sync + 'static) -> BoxError {
    match class.text {
        Some(text) => text.into(),
        None => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TlsEngine;

    #[test]
    fn no_connection_without_a_server_that_was_verified() {
        let connected = |update: fn(&ConnectionState)| {
            let state = Arc::new(ConnectionState::new(TlsEngine::OpenSsl, true));
            update(&state);
            let peer = Peer {
                name: "a.b:443".into(),
                state: Some(state),
                last_key_error: None,
            };
            peer.check_connected().map_err(|error| error.kind())
        };
        let rejected = Err(TransportErrorKind::ServerCertificate);
        assert_eq!(connected(|_| {}), rejected);
        assert_eq!(
            connected(|state| assert!(state.on_server_certificate(b"one"))),
            Ok(())
        );
        let rejections: [fn(&ConnectionState); 2] = [
            |state| {
                state.on_server_certificate(b"one");
                state.reject_server("expired", None);
            },
            |state| {
                state.on_server_certificate(b"one");
                state.on_server_certificate(b"two");
            },
        ];
        for update in rejections {
            assert_eq!(connected(update), rejected);
        }
    }

    /// `SEC_E_ALGORITHM_MISMATCH` occurs before the first byte if Windows has disabled the versions, and after it if the
    /// server supports others.
    #[cfg(windows)]
    #[test]
    fn version_that_the_server_rejects_is_not_a_host_error() {
        let state = Arc::new(ConnectionState::new(TlsEngine::SChannel, false));
        let peer = Peer {
            name: "a.b:443".into(),
            state: Some(Arc::clone(&state)),
            last_key_error: None,
        };
        let kind = || {
            let error = std::io::Error::from_raw_os_error(0x8009_0331_u32.cast_signed());
            peer.handshake_failed(error).kind()
        };
        assert_eq!(kind(), TransportErrorKind::HostUnsupported);
        state.on_record(&[22, 3, 3, 0, 1]);
        assert_eq!(kind(), TransportErrorKind::Tls);
    }
}
