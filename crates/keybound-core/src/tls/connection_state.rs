use super::{TlsEngine, is_certificate_alert};
use crate::{Certificate, Result, Sha1Thumbprint};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

/// The state of one TLS connection, which its TLS library updates: whether the server requested the certificate, the
/// server's certificate, and limits on what the server sends.
#[derive(Debug, Default)]
pub struct ConnectionState {
    engine: TlsEngine,
    has_identity: bool,
    /// The thumbprint of the only certificate that the server may present.
    pinned: Option<Sha1Thumbprint>,
    /// How often the server requested the certificate.
    requests: AtomicU32,
    /// The same, since its last response.
    unconfirmed_requests: AtomicU32,
    /// The server's first certificate.
    server: OnceLock<ServerCertificate>,
    server_changed: AtomicBool,
    /// The number of messages of later handshakes since the last response.
    messages: AtomicU32,
    /// How many of them began a handshake since the connection was opened, for a caller's own TLS stack.
    begun_handshakes: AtomicU32,
    first_handshake_complete: AtomicBool,
    /// Whether the connection has no request.
    idle: AtomicBool,
    /// How the server violated the limits.
    violation: OnceLock<&'static str>,
    /// Whether a caller's own TLS stack uses the connection; it does not call [`on_response`](Self::on_response).
    for_caller: bool,
    server_rejection: OnceLock<Rejection>,
    version: OnceLock<&'static str>,
    /// Whether the server sent an alert that rejects a certificate, if the TLS library reports alerts.
    certificate_alert: AtomicBool,
    /// Whether anything was received.
    has_received: AtomicBool,
    /// What the server sent instead of TLS.
    other_protocol: OnceLock<&'static str>,
}

impl ConnectionState {
    /// The state of a connection of Keybound's client.
    pub fn new(engine: TlsEngine, has_identity: bool) -> Self {
        Self {
            engine,
            has_identity,
            ..Self::default()
        }
    }

    /// The state of a connection without a client certificate to a server with this one certificate.
    pub fn pinned(engine: TlsEngine, certificate: Sha1Thumbprint) -> Self {
        Self {
            pinned: Some(certificate),
            ..Self::new(engine, false)
        }
    }

    /// The state of a connection of a caller's own TLS stack.
    pub fn for_caller(engine: TlsEngine) -> Self {
        Self {
            for_caller: true,
            ..Self::new(engine, true)
        }
    }

    /// Whether the server requested the certificate, at the first handshake or later.
    pub fn certificate_requested(&self) -> bool {
        self.requests.load(Ordering::Acquire) > 0
    }

    /// Whether the certificate was presented and there was no response since.
    pub fn certificate_unconfirmed(&self) -> bool {
        self.has_identity && self.unconfirmed_requests.load(Ordering::Acquire) > 0
    }

    /// The TLS library of the connection.
    pub fn engine(&self) -> TlsEngine {
        self.engine
    }

    /// Whether the server may present one certificate only, whatever else is trusted.
    pub fn is_pinned(&self) -> bool {
        self.pinned.is_some()
    }

    /// Whether there is a client certificate to present.
    pub fn has_identity(&self) -> bool {
        self.has_identity
    }

    /// Records a response: the server accepts the certificate.
    pub fn on_response(&self) {
        self.unconfirmed_requests.store(0, Ordering::Release);
        self.messages.store(0, Ordering::Release);
    }

    /// Whether the server presented another certificate than in the first handshake.
    pub fn server_changed(&self) -> bool {
        self.server_changed.load(Ordering::Acquire)
    }

    /// The certificate that the server presented first and that is verified.
    pub fn server_certificate(&self) -> Option<&ServerCertificate> {
        self.server.get()
    }

    /// Whether the server presented a certificate that is verified.
    pub fn has_verified_server(&self) -> bool {
        self.server.get().is_some() && self.server_rejection().is_none() && !self.server_changed()
    }

    /// Why the server's certificate was rejected.
    pub fn server_rejection(&self) -> Option<&'static str> {
        self.server_rejection
            .get()
            .map(|rejection| rejection.reason)
    }

    /// The certificate for which the server was rejected, its own or one of its issuers, if the TLS library names it.
    pub fn rejected_certificate(&self) -> Option<&ServerCertificate> {
        self.server_rejection.get()?.certificate.as_ref()
    }

    /// The TLS version; empty before the end of the first handshake.
    pub fn version(&self) -> &'static str {
        self.version.get().copied().unwrap_or_default()
    }

    /// Sets the TLS version, `TLSv1.2` or `TLSv1.3`; the first call counts.
    pub fn set_version(&self, name: &'static str) {
        let _ = self.version.set(name);
    }

    /// Rejects the server's certificate, for the certificate of its chain with this DER; the first reason counts.
    pub fn reject_server(&self, reason: &'static str, certificate: Option<&[u8]>) {
        let _ = self.server_rejection.set(Rejection {
            reason,
            certificate: certificate.map(|der| ServerCertificate(der.into())),
        });
    }

    /// Whether the server sent an alert that rejects a client certificate.
    pub fn certificate_alert(&self) -> bool {
        self.certificate_alert.load(Ordering::Acquire)
    }

    /// Whether anything was received: a failure is then not due to the TLS versions of this host.
    pub fn has_received(&self) -> bool {
        self.has_received.load(Ordering::Acquire)
    }

    /// Records the head of a received record, or its first bytes. The first record shows whether it is TLS.
    pub fn on_record(&self, head: &[u8]) {
        // Loaded first: the records after the first write nothing.
        let is_first = !self.has_received.load(Ordering::Acquire)
            && !self.has_received.swap(true, Ordering::AcqRel);
        if is_first && !is_tls(head) {
            let _ = self.other_protocol.set(if head.starts_with(b"HTTP") {
                "responds with plain http, not tls"
            } else {
                "does not respond with tls"
            });
        }
    }

    /// What the server sends instead of TLS, as a predicate: `responds with …`.
    pub fn other_protocol(&self) -> Option<&'static str> {
        self.other_protocol.get().copied()
    }

    /// Records an alert from the server.
    pub fn on_alert(&self, description: u8) {
        if is_certificate_alert(description) {
            self.certificate_alert.store(true, Ordering::Release);
        }
    }

    /// Records a request for the certificate. Returns false if there were too many.
    pub fn on_certificate_request(&self) -> bool {
        self.requests.fetch_add(1, Ordering::AcqRel);
        self.unconfirmed_requests.fetch_add(1, Ordering::AcqRel) < MAX_REQUESTS
    }

    /// Records the end of the first handshake.
    pub fn on_first_handshake(&self) {
        self.first_handshake_complete.store(true, Ordering::Release);
    }

    /// Records a handshake message from the server, possibly one that begins a handshake. After the first handshake their
    /// number is limited between responses, and none may begin a handshake while the connection is idle.
    ///
    /// # Errors
    /// The violation, as a predicate: `began a handshake …`.
    pub fn on_handshake_message(
        &self,
        begins_handshake: bool,
    ) -> std::result::Result<(), &'static str> {
        if !self.first_handshake_complete.load(Ordering::Acquire) {
            return Ok(());
        }
        if begins_handshake && self.idle.load(Ordering::Acquire) {
            return Err(self.violated("began a handshake on an idle connection"));
        }
        if self.for_caller
            && begins_handshake
            && self.begun_handshakes.fetch_add(1, Ordering::AcqRel) >= MAX_BEGUN_HANDSHAKES
        {
            return Err(self.violated("began too many handshakes"));
        }
        if self.messages.fetch_add(1, Ordering::AcqRel) >= MAX_MESSAGES {
            return Err(self.violated("sent too many handshake messages"));
        }
        Ok(())
    }

    fn violated(&self, what: &'static str) -> &'static str {
        self.violation.get_or_init(|| what)
    }

    /// How the server violated the limits. The connection is then no longer used.
    pub fn violation(&self) -> Option<&'static str> {
        self.violation.get().copied()
    }

    /// Records data from the server. On a connection of a caller's own TLS stack it counts as a response.
    pub fn on_data(&self) {
        if self.for_caller {
            self.messages.store(0, Ordering::Release);
        }
    }

    /// Sets whether the connection has no request.
    pub fn set_idle(&self, idle: bool) {
        self.idle.store(idle, Ordering::Release);
    }

    /// Records a certificate of the server that is verified. Returns false if it differs from the first one, or from the pinned
    /// one, which is then the reason of a rejection.
    pub fn on_server_certificate(&self, certificate: &[u8]) -> bool {
        let is_pinned = |pinned| Sha1Thumbprint::of_der(certificate) == pinned;
        let is_expected = self.pinned.is_none_or(is_pinned);
        if !is_expected {
            let reason = "its SHA-1 thumbprint is not the pinned one";
            self.reject_server(reason, Some(certificate));
        }
        let first = || ServerCertificate(certificate.into());
        let is_same = *self.server.get_or_init(first).0 == *certificate;
        if !is_same {
            self.server_changed.store(true, Ordering::Release);
        }
        is_same && is_expected
    }
}

/// Why a server is rejected.
#[derive(Debug)]
struct Rejection {
    reason: &'static str,
    certificate: Option<ServerCertificate>,
}

/// The certificate of a TLS server in DER. Cloning is cheap.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerCertificate(Arc<[u8]>);

impl ServerCertificate {
    /// Parses it.
    ///
    /// # Errors
    /// Those of [`Certificate::from_der`].
    pub fn parse(&self) -> Result<Certificate> {
        Certificate::from_der(&self.0)
    }
}

/// Its length only.
impl fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerCertificate({} bytes)", self.0.len())
    }
}

/// Whether the head of a record can be that of a TLS handshake or alert, with the major version since SSL 3 (RFC 8446,
/// section 5.1).
fn is_tls(head: &[u8]) -> bool {
    matches!(head, [] | [21 | 22] | [21 | 22, 3, ..])
}

/// Between responses: each request for the certificate costs a signature.
const MAX_REQUESTS: u32 = 8;

/// Between responses: a renegotiation takes seven or eight messages, and some TLS 1.3 servers send a few tickets. Each costs
/// the client more than the server.
const MAX_MESSAGES: u32 = 64;

/// On a connection of a caller's own TLS stack, where empty data records count as responses too and would reset the other
/// limits. A renegotiation counts twice: its request and its hello.
const MAX_BEGUN_HANDSHAKES: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detects_another_server_certificate() {
        let state = ConnectionState::new(TlsEngine::OpenSsl, true);
        assert!(state.on_server_certificate(b"one"));
        assert!(state.on_server_certificate(b"one"));
        assert!(!state.server_changed());
        assert!(!state.on_server_certificate(b"two"));
        assert!(state.server_changed());
        assert!(state.on_server_certificate(b"one"));
        let first = state.server_certificate().unwrap();
        assert_eq!(format!("{first:?}"), "ServerCertificate(3 bytes)");
        assert!(first.parse().is_err());
    }

    #[test]
    fn accepts_the_pinned_certificate_only() {
        let pinned = || {
            let pin = Sha1Thumbprint::of_der(b"one");
            ConnectionState::pinned(TlsEngine::OpenSsl, pin)
        };
        let state = pinned();
        assert!(state.is_pinned() && !state.has_identity());
        assert!(!state.has_verified_server());
        assert!(state.on_server_certificate(b"one") && state.has_verified_server());
        assert!(!state.on_server_certificate(b"two"));
        assert!(state.server_changed() && !state.has_verified_server());
        let state = pinned();
        assert!(!state.on_server_certificate(b"two"));
        assert!(!state.server_changed() && !state.has_verified_server());
        let reason = state.server_rejection().unwrap();
        assert!(reason.contains("thumbprint"), "{reason}");
    }

    #[test]
    fn response_confirms_certificate() {
        let state = ConnectionState::new(TlsEngine::OpenSsl, true);
        assert!(!state.certificate_requested() && !state.certificate_unconfirmed());
        assert!(state.on_certificate_request());
        assert!(state.certificate_requested() && state.certificate_unconfirmed());
        state.on_response();
        assert!(state.certificate_requested() && !state.certificate_unconfirmed());
    }

    #[test]
    fn limits_certificate_requests() {
        let state = ConnectionState::new(TlsEngine::OpenSsl, true);
        assert_eq!(
            (0..100).filter(|_| state.on_certificate_request()).count(),
            8
        );
        state.on_response();
        assert!(state.on_certificate_request());
    }

    #[test]
    fn limits_handshake_messages() {
        let state = ConnectionState::new(TlsEngine::OpenSsl, true);
        let accepted = |begins| {
            (0..100)
                .filter(|_| state.on_handshake_message(begins).is_ok())
                .count()
        };
        assert_eq!(accepted(true), 100, "the first handshake");
        state.on_first_handshake();
        assert_eq!(accepted(true), 64);
        assert_eq!(state.violation(), Some("sent too many handshake messages"));
        state.on_data();
        assert_eq!(accepted(false), 0, "data is not a response");
        state.on_response();
        assert_eq!(accepted(false), 64);
        let state = ConnectionState::for_caller(TlsEngine::OpenSsl);
        state.on_first_handshake();
        for _ in 0..3 {
            let accepted = (0..100)
                .filter(|_| state.on_handshake_message(false).is_ok())
                .count();
            assert_eq!(accepted, 64);
            state.on_data();
        }
        let accepted = (0..100).filter(|_| {
            state.on_data();
            state.on_handshake_message(true).is_ok()
        });
        assert_eq!(accepted.count(), 64, "data does not reset begun handshakes");
    }

    #[test]
    fn recognizes_other_protocols_by_first_bytes() {
        for (head, expected) in [
            (&b"HTTP/"[..], Some("responds with plain http, not tls")),
            (b"SSH-2", Some("does not respond with tls")),
            (b"220 m", Some("does not respond with tls")),
            (b"\x16\x02\x03\x00\x01", Some("does not respond with tls")),
            (b"\x16\x03\x03\x00\x01", None),
            (b"\x15\x03\x01\x00\x02", None),
            (b"\x16", None),
        ] {
            let state = ConnectionState::new(TlsEngine::OpenSsl, true);
            state.on_record(head);
            assert_eq!(state.other_protocol(), expected, "{head:?}");
            assert!(state.has_received());
            let state = ConnectionState::new(TlsEngine::OpenSsl, true);
            state.on_record(b"\x16\x03\x03\x00\x01");
            state.on_record(head);
            assert_eq!(state.other_protocol(), None, "later records are encrypted");
        }
    }

    #[test]
    fn rejects_handshake_on_idle_connection() {
        let state = ConnectionState::new(TlsEngine::OpenSsl, true);
        state.on_first_handshake();
        state.set_idle(true);
        // A late ticket, or a key update.
        assert_eq!(state.on_handshake_message(false), Ok(()));
        assert_eq!(state.violation(), None);
        let violation = "began a handshake on an idle connection";
        assert_eq!(state.on_handshake_message(true), Err(violation));
        assert_eq!(state.violation(), Some(violation));
        let state = ConnectionState::new(TlsEngine::OpenSsl, true);
        state.on_first_handshake();
        state.set_idle(true);
        state.set_idle(false);
        assert_eq!(state.on_handshake_message(true), Ok(()));
    }
}
