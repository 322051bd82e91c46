//! The state of one TLS connection: whether the server requested the certificate, who the server is, and the limits on it.
use super::{TlsEngine, is_certificate_alert};
use sha2::{Digest as _, Sha256};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// The state of one TLS connection, which its TLS library updates.
#[derive(Debug, Default)]
pub struct ConnectionState {
    engine: TlsEngine,
    has_identity: bool,
    /// How often the server asked for the certificate.
    requests: AtomicU32,
    /// The same, since it last answered a request.
    requests_unanswered: AtomicU32,
    /// SHA-256 of the first certificate that the server showed.
    server: OnceLock<[u8; 32]>,
    server_changed: AtomicBool,
    /// How many messages of later handshakes came since it last answered a request.
    messages: AtomicU32,
    /// How many of them began a handshake, over the whole life of a connection of a caller's stack.
    begun: AtomicU32,
    first_handshake_over: AtomicBool,
    /// Whether the connection waits for its next request.
    idle: AtomicBool,
    /// What the server may not do, where it did.
    violation: OnceLock<&'static str>,
    /// Whether a caller's own stack drives the connection: it does not call [`on_response`](Self::on_response).
    of_caller: bool,
    server_rejection: OnceLock<&'static str>,
    version: OnceLock<&'static str>,
    /// Whether the server sent an alert that answers a certificate, where the engine sees alerts.
    certificate_alert: AtomicBool,
    /// Whether anything came from the server.
    has_received: AtomicBool,
    /// What the server answered in place of TLS, where it did.
    other_protocol: OnceLock<&'static str>,
}

impl ConnectionState {
    /// For a connection of Keybound's own client.
    pub fn new(engine: TlsEngine, has_identity: bool) -> Self {
        Self {
            engine,
            has_identity,
            ..Self::default()
        }
    }

    /// For a connection of a caller's own stack.
    pub fn for_caller(engine: TlsEngine) -> Self {
        Self {
            of_caller: true,
            ..Self::new(engine, true)
        }
    }

    /// Whether the server has asked for the certificate, at the first handshake or later.
    pub fn certificate_requested(&self) -> bool {
        self.requests.load(Ordering::Acquire) > 0
    }

    /// Whether our certificate was presented and the server has not answered a request since.
    pub fn certificate_unconfirmed(&self) -> bool {
        self.has_identity && self.requests_unanswered.load(Ordering::Acquire) > 0
    }

    /// The TLS library of the connection.
    pub fn engine(&self) -> TlsEngine {
        self.engine
    }

    /// Whether there is a client certificate to present.
    pub fn has_identity(&self) -> bool {
        self.has_identity
    }

    /// The server has answered a request: it did not mind the certificate.
    pub fn on_response(&self) {
        self.requests_unanswered.store(0, Ordering::Release);
        self.messages.store(0, Ordering::Release);
    }

    /// Whether the server showed another certificate than at first.
    pub fn server_changed(&self) -> bool {
        self.server_changed.load(Ordering::Acquire)
    }

    /// Whether the server has shown a certificate that was verified.
    pub fn has_verified_server(&self) -> bool {
        self.server.get().is_some() && self.server_rejection().is_none() && !self.server_changed()
    }

    /// Why the server's certificate was refused, where it was.
    pub fn server_rejection(&self) -> Option<&'static str> {
        self.server_rejection.get().copied()
    }

    /// The TLS version, set when the first handshake is over.
    pub fn version(&self) -> &'static str {
        self.version.get().copied().unwrap_or_default()
    }

    /// Sets it to `TLSv1.2` or `TLSv1.3`, once.
    pub fn set_version(&self, name: &'static str) {
        let _ = self.version.set(name);
    }

    /// The server's certificate is refused; the first reason counts.
    pub fn reject_server(&self, reason: &'static str) {
        let _ = self.server_rejection.set(reason);
    }

    /// Whether the server sent an alert that rejects a client certificate.
    pub fn certificate_alert(&self) -> bool {
        self.certificate_alert.load(Ordering::Acquire)
    }

    /// Whether anything came from the server: what fails then is not for want of a TLS version on this host.
    pub fn has_received(&self) -> bool {
        self.has_received.load(Ordering::Acquire)
    }

    /// Records the head of a record from the server, or its first bytes. The first record shows whether it is TLS.
    pub fn on_record(&self, head: &[u8]) {
        if !self.has_received.swap(true, Ordering::AcqRel) && !is_tls(head) {
            let _ = self.other_protocol.set(if head.starts_with(b"HTTP") {
                "answers plain http, not tls"
            } else {
                "answers something else than tls"
            });
        }
    }

    /// What the server does in place of TLS, in words that follow its name.
    pub fn other_protocol(&self) -> Option<&'static str> {
        self.other_protocol.get().copied()
    }

    /// The server sends an alert.
    pub fn on_alert(&self, description: u8) {
        if is_certificate_alert(description) {
            self.certificate_alert.store(true, Ordering::Release);
        }
    }

    /// The server asks for the certificate. False where it has asked too often.
    pub fn on_certificate_request(&self) -> bool {
        self.requests.fetch_add(1, Ordering::AcqRel);
        self.requests_unanswered.fetch_add(1, Ordering::AcqRel) < MAX_REQUESTS_AN_ANSWER
    }

    /// The first handshake is over.
    pub fn on_first_handshake(&self) {
        self.first_handshake_over.store(true, Ordering::Release);
    }

    /// The server sends a message of a handshake, perhaps one that begins a handshake. After the first handshake it may send
    /// some until it answers, and begin none while the connection is idle.
    ///
    /// # Errors
    /// What it may not do, in words that follow its name.
    pub fn on_handshake_message(&self, begins_handshake: bool) -> Result<(), &'static str> {
        if !self.first_handshake_over.load(Ordering::Acquire) {
            return Ok(());
        }
        if begins_handshake && self.idle.load(Ordering::Acquire) {
            return Err(self.misbehaves("began a handshake on an idle connection"));
        }
        if self.of_caller
            && begins_handshake
            && self.begun.fetch_add(1, Ordering::AcqRel) >= MAX_BEGINNINGS
        {
            return Err(self.misbehaves("began handshakes over and over"));
        }
        if self.messages.fetch_add(1, Ordering::AcqRel) >= MAX_MESSAGES_AN_ANSWER {
            return Err(self.misbehaves("sent handshake messages over and over"));
        }
        Ok(())
    }

    fn misbehaves(&self, what: &'static str) -> &'static str {
        self.violation.get_or_init(|| what)
    }

    /// What the server did that it may not do. Nothing more is read from it or written to it.
    pub fn violation(&self) -> Option<&'static str> {
        self.violation.get().copied()
    }

    /// Data comes from the server. To a caller's stack, which asks for it, that is an answer.
    pub fn on_data(&self) {
        if self.of_caller {
            self.messages.store(0, Ordering::Release);
        }
    }

    /// Whether the connection has no request from now on.
    pub fn set_idle(&self, idle: bool) {
        self.idle.store(idle, Ordering::Release);
    }

    /// The server shows a certificate that has been verified. False where it showed another one before.
    pub fn on_server_certificate(&self, certificate: &[u8]) -> bool {
        let digest: [u8; 32] = Sha256::digest(certificate).into();
        let same = *self.server.get_or_init(|| digest) == digest;
        if !same {
            self.server_changed.store(true, Ordering::Release);
        }
        same
    }
}

/// Whether the head of a record may be one of TLS: a handshake or an alert, by the version of all since SSL 3 (RFC 8446,
/// section 5.1).
fn is_tls(head: &[u8]) -> bool {
    matches!(head, [] | [21 | 22] | [21 | 22, 3, ..])
}

/// A server that asks for the certificate over and over would have the key sign for ever.
const MAX_REQUESTS_AN_ANSWER: u32 = 8;

/// A renegotiation takes seven or eight messages; some servers of TLS 1.3 send a handful of tickets. Each costs the client
/// more than the server.
const MAX_MESSAGES_AN_ANSWER: u32 = 64;

/// On a connection of a caller's stack, where data of no length counts as an answer too: a server could begin handshakes
/// without end, unnoticed. A renegotiation begins twice: with the request for it, and with its own hello.
const MAX_BEGINNINGS: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_shows_another_certificate_is_refused() {
        let state = ConnectionState::new(TlsEngine::OpenSsl, true);
        assert!(state.on_server_certificate(b"one"));
        assert!(state.on_server_certificate(b"one"));
        assert!(!state.server_changed());
        assert!(!state.on_server_certificate(b"two"));
        assert!(state.server_changed());
        assert!(state.on_server_certificate(b"one"));
    }

    #[test]
    fn an_answer_clears_the_doubt_and_not_the_request() {
        let state = ConnectionState::new(TlsEngine::OpenSsl, true);
        assert!(!state.certificate_requested() && !state.certificate_unconfirmed());
        assert!(state.on_certificate_request());
        assert!(state.certificate_requested() && state.certificate_unconfirmed());
        state.on_response();
        assert!(state.certificate_requested() && !state.certificate_unconfirmed());
    }

    #[test]
    fn a_server_cannot_ask_for_ever() {
        let state = ConnectionState::new(TlsEngine::OpenSsl, true);
        assert_eq!(
            (0..100).filter(|_| state.on_certificate_request()).count(),
            8
        );
        state.on_response();
        assert!(state.on_certificate_request());
    }

    #[test]
    fn a_server_cannot_go_on_with_handshakes_for_ever() {
        let state = ConnectionState::new(TlsEngine::OpenSsl, true);
        let taken = |begins| {
            (0..100)
                .filter(|_| state.on_handshake_message(begins).is_ok())
                .count()
        };
        assert_eq!(taken(true), 100, "the first handshake");
        state.on_first_handshake();
        assert_eq!(taken(true), 64);
        assert_eq!(
            state.violation(),
            Some("sent handshake messages over and over")
        );
        state.on_data();
        assert_eq!(taken(false), 0, "data is no answer");
        state.on_response();
        assert_eq!(taken(false), 64);
        let state = ConnectionState::for_caller(TlsEngine::OpenSsl);
        state.on_first_handshake();
        for _ in 0..3 {
            let taken = (0..100)
                .filter(|_| state.on_handshake_message(false).is_ok())
                .count();
            assert_eq!(taken, 64);
            state.on_data();
        }
        let taken = (0..100).filter(|_| {
            state.on_data();
            state.on_handshake_message(true).is_ok()
        });
        assert_eq!(taken.count(), 64, "data does not count for beginnings");
    }

    #[test]
    fn the_first_bytes_tell_what_is_no_tls() {
        for (head, expected) in [
            (&b"HTTP/"[..], Some("answers plain http, not tls")),
            (b"SSH-2", Some("answers something else than tls")),
            (b"220 m", Some("answers something else than tls")),
            (
                b"\x16\x02\x03\x00\x01",
                Some("answers something else than tls"),
            ),
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
    fn no_handshake_begins_on_an_idle_connection() {
        let state = ConnectionState::new(TlsEngine::OpenSsl, true);
        state.on_first_handshake();
        state.set_idle(true);
        // A late ticket, or another key.
        assert_eq!(state.on_handshake_message(false), Ok(()));
        assert_eq!(state.violation(), None);
        let words = "began a handshake on an idle connection";
        assert_eq!(state.on_handshake_message(true), Err(words));
        assert_eq!(state.violation(), Some(words));
        let state = ConnectionState::new(TlsEngine::OpenSsl, true);
        state.on_first_handshake();
        state.set_idle(true);
        state.set_idle(false);
        assert_eq!(state.on_handshake_message(true), Ok(()));
    }
}
