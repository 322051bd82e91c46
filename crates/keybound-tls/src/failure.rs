//! From what TLS, HTTP and the system say to a [`TransportError`]: one place decides which kind a failure is.
use crate::bridge::{KeyFailures, provider_name};
use crate::session::SessionNotes;
use crate::{TransportError, TransportErrorKind};
use openssl::error::ErrorStack;
use openssl::ssl;
use std::error::Error;
use std::io;
use std::sync::Arc;

/// What is known of a connection when something on it fails.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Host and port, for messages.
    pub(crate) name: Arc<str>,
    pub(crate) notes: Option<Arc<SessionNotes>>,
    pub(crate) key_failures: Option<Arc<KeyFailures>>,
}

impl Peer {
    /// The TLS handshake failed.
    pub(crate) fn handshake_failed(&self, error: ssl::Error) -> TransportError {
        let findings = Findings::of(&error);
        if let Some(known) = self.known_cause(&findings) {
            return known.or_source(error);
        }
        let name = &self.name;
        if findings.no_protocol {
            return TransportError::new(
                TransportErrorKind::HostUnsupported,
                format!(
                    "the host's OpenSSL configuration does not allow the tls version for {name}"
                ),
            )
            .with_source(error);
        }
        if findings.closed {
            // The end may show while connecting or a moment later: it is the same.
            return TransportError::new(
                TransportErrorKind::Connect,
                format!("{name} closed the connection before the tls handshake was over"),
            )
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
        let findings = Findings::of_exchange(&error);
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
        } else if let Some(known) = self.known_cause(&findings) {
            return known.or_source(error);
        } else if error.is_user() {
            (
                TransportErrorKind::InvalidRequest,
                "was not sent the whole request: its body could not be read",
            )
        } else if findings.closed {
            (
                TransportErrorKind::Protocol,
                "closed the connection before it had answered in full",
            )
        } else if findings.tls {
            (TransportErrorKind::Tls, "broke the tls connection")
        } else {
            (TransportErrorKind::Protocol, "broke the exchange")
        };
        TransportError::new(kind, format!("{} {what}", self.name)).with_source(error)
    }

    /// Whether an exchange failed for no other reason than that the connection ended.
    pub(crate) fn merely_ended(&self, error: &hyper::Error) -> bool {
        let findings = Findings::of_exchange(error);
        let blamed = findings.bridge || findings.certificate_alert;
        let suspicious = self.notes.as_deref().is_some_and(|notes| {
            notes.server_changed()
                || notes.refused_server().is_some()
                || notes.certificate_in_doubt()
        });
        findings.closed && !blamed && !suspicious && !error.is_parse() && !error.is_user()
    }

    /// The causes that are the same in the handshake and later, as a server may ask for the certificate at any time.
    fn known_cause(&self, findings: &Findings) -> Option<Known> {
        let name = &self.name;
        let notes = self.notes.as_deref()?;
        let known = |kind, message| {
            Some(Known {
                error: TransportError::new(kind, message),
                complete: false,
            })
        };
        if notes.server_changed() {
            return known(
                TransportErrorKind::ServerCertificate,
                format!("{name} showed another certificate when it renegotiated"),
            );
        }
        if let Some(reason) = notes.refused_server() {
            return known(
                TransportErrorKind::ServerCertificate,
                format!("the certificate of {name} could not be verified: {reason}"),
            );
        }
        if findings.bridge {
            let error = TransportError::new(
                TransportErrorKind::Key,
                format!("the key did not sign for {name}"),
            );
            return Some(
                match self.key_failures.as_ref().and_then(|slot| slot.take()) {
                    Some(cause) => Known {
                        error: error.with_source(cause),
                        complete: true,
                    },
                    None => Known {
                        error,
                        complete: false,
                    },
                },
            );
        }
        if findings.certificate_alert && notes.certificate_requested() {
            let message = if notes.has_identity() {
                format!("{name} refused the client certificate")
            } else {
                format!("{name} wants a client certificate and there is none")
            };
            return known(TransportErrorKind::ClientCertificateRejected, message);
        }
        if findings.closed && notes.certificate_in_doubt() {
            return known(
                TransportErrorKind::ClientCertificateRejected,
                format!("{name} closed the connection after the client certificate was presented"),
            );
        }
        None
    }
}

/// An error whose kind is settled.
struct Known {
    error: TransportError,
    /// Whether it has its cause already.
    complete: bool,
}

impl Known {
    fn or_source(self, source: impl Error + Send + Sync + 'static) -> TransportError {
        if self.complete {
            self.error
        } else {
            self.error.with_source(source)
        }
    }
}

/// What a chain of errors tells.
#[derive(Debug, Default, PartialEq)]
struct Findings {
    /// The connection is gone.
    closed: bool,
    /// It came from OpenSSL.
    tls: bool,
    /// It came from the key bridge.
    bridge: bool,
    /// The peer sent an alert that servers answer a certificate with.
    certificate_alert: bool,
    /// The host allows none of the TLS versions asked for.
    no_protocol: bool,
}

impl Findings {
    fn of(error: &(dyn Error + 'static)) -> Self {
        let mut findings = Self::default();
        let mut next = Some(error);
        // Chains are short; a bound keeps a strange one from being walked for ever.
        for _ in 0..16 {
            let Some(error) = next else { break };
            if let Some(error) = error.downcast_ref::<io::Error>() {
                findings.closed |= is_closed(error);
                // `source()` of an I/O error leaves out the error that it holds.
                next = error.get_ref().map(|inner| inner as _);
                continue;
            }
            if let Some(error) = error.downcast_ref::<ssl::Error>() {
                findings.tls = true;
                findings.add_tls(error);
            }
            next = error.source();
        }
        findings
    }

    fn of_exchange(error: &hyper::Error) -> Self {
        let mut findings = Self::of(error);
        findings.closed |=
            error.is_incomplete_message() || error.is_closed() || error.is_canceled();
        findings
    }

    fn add_tls(&mut self, error: &ssl::Error) {
        self.closed |= error.code() == ssl::ErrorCode::SYSCALL && error.io_error().is_none();
        self.closed |= error.code() == ssl::ErrorCode::ZERO_RETURN;
        for error in error.ssl_error().map_or(&[][..], ErrorStack::errors) {
            self.bridge |= error.library() == Some(provider_name());
            if error.library_code() == ERR_LIB_SSL {
                let reason = error.reason_code();
                self.certificate_alert |= CERTIFICATE_ALERTS
                    .map(|alert| alert + openssl_sys::SSL_AD_REASON_OFFSET)
                    .contains(&reason);
                self.closed |= reason == UNEXPECTED_EOF;
                self.no_protocol |= reason == NO_PROTOCOLS_AVAILABLE;
            }
        }
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

/// OpenSSL's first reason, in its words.
pub(crate) fn first_reason(errors: &ErrorStack) -> Option<String> {
    errors.errors().iter().find_map(|error| {
        let reason = error.reason()?;
        Some(match error.data() {
            Some(data) if !data.is_empty() => format!("{reason} ({data})"),
            _ => reason.to_owned(),
        })
    })
}

/// Alert descriptions (RFC 8446, 6.2): handshake_failure, no_certificate (SSL 3), bad, unsupported, revoked, expired and
/// unknown certificate, unknown_ca, access_denied, decrypt_error (our signature did not hold), certificate_required.
const CERTIFICATE_ALERTS: [i32; 11] = [40, 41, 42, 43, 44, 45, 46, 48, 49, 51, 116];
/// `ERR_LIB_SSL`: the error is libssl's.
const ERR_LIB_SSL: i32 = 20;
/// `SSL_R_UNEXPECTED_EOF_WHILE_READING`.
const UNEXPECTED_EOF: i32 = 294;
/// `SSL_R_NO_PROTOCOLS_AVAILABLE`.
const NO_PROTOCOLS_AVAILABLE: i32 = 191;
