//! What is learnt of one TLS connection while it lives: whether the server asked for the certificate, and who it is.
use crate::TlsEngine;
#[cfg(any(windows, test))]
use crate::engine::answers_a_certificate;
use sha2::{Digest as _, Sha256};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Notes that a TLS engine takes on one connection.
#[derive(Debug, Default)]
pub(crate) struct SessionNotes {
    engine: TlsEngine,
    has_identity: bool,
    /// How often the server asked for the certificate.
    requests: AtomicU32,
    /// The same, since it last answered a request.
    requests_unanswered: AtomicU32,
    /// SHA-256 of the first certificate that the server showed.
    server: OnceLock<[u8; 32]>,
    server_changed: AtomicBool,
    /// How often a server's certificate was judged since it last answered a request.
    judgements: AtomicU32,
    refused_server: OnceLock<&'static str>,
    version: OnceLock<&'static str>,
    /// Whether the server sent an alert that answers a certificate, where the engine sees alerts.
    certificate_alert: AtomicBool,
    /// Whether anything came from the server, where the engine sees that.
    server_spoke: AtomicBool,
}

impl SessionNotes {
    pub(crate) fn new(engine: TlsEngine, has_identity: bool) -> Self {
        Self {
            engine,
            has_identity,
            ..Self::default()
        }
    }

    /// Whether the server has asked for the certificate, at the first handshake or later.
    pub(crate) fn certificate_requested(&self) -> bool {
        self.requests.load(Ordering::Acquire) > 0
    }

    /// Whether our certificate was presented and the server has not answered a request since.
    pub(crate) fn certificate_in_doubt(&self) -> bool {
        self.has_identity && self.requests_unanswered.load(Ordering::Acquire) > 0
    }

    pub(crate) fn engine(&self) -> TlsEngine {
        self.engine
    }

    pub(crate) fn has_identity(&self) -> bool {
        self.has_identity
    }

    /// The server has answered a request: it did not mind the certificate.
    pub(crate) fn answered(&self) {
        self.requests_unanswered.store(0, Ordering::Release);
        self.judgements.store(0, Ordering::Release);
    }

    /// Whether the server showed another certificate than at first.
    pub(crate) fn server_changed(&self) -> bool {
        self.server_changed.load(Ordering::Acquire)
    }

    /// Whether the server has shown a certificate that was verified.
    pub(crate) fn has_verified_server(&self) -> bool {
        self.server.get().is_some() && self.refused_server().is_none() && !self.server_changed()
    }

    /// Why the server's certificate was refused, where it was.
    pub(crate) fn refused_server(&self) -> Option<&'static str> {
        self.refused_server.get().copied()
    }

    /// The TLS version, set when the first handshake is over.
    pub(crate) fn version(&self) -> &'static str {
        self.version.get().copied().unwrap_or_default()
    }

    /// Sets it to `TLSv1.2` or `TLSv1.3`, once.
    pub(crate) fn set_version(&self, name: &'static str) {
        let _ = self.version.set(name);
    }

    /// The server's certificate is refused; the first reason counts.
    pub(crate) fn refuse_server(&self, reason: &'static str) {
        let _ = self.refused_server.set(reason);
    }

    pub(crate) fn certificate_alert(&self) -> bool {
        self.certificate_alert.load(Ordering::Acquire)
    }

    /// Whether anything came from the server: what fails then is not for want of a TLS version on this host.
    pub(crate) fn server_spoke(&self) -> bool {
        self.server_spoke.load(Ordering::Acquire)
    }

    /// Something comes from the server.
    #[cfg(any(windows, test))]
    pub(crate) fn note_server_spoke(&self) {
        self.server_spoke.store(true, Ordering::Release);
    }

    /// The server sends an alert.
    #[cfg(any(windows, test))]
    pub(crate) fn note_alert(&self, description: u8) {
        if answers_a_certificate(description) {
            self.certificate_alert.store(true, Ordering::Release);
        }
    }

    /// The server asks for the certificate. False where it has asked too often.
    pub(crate) fn note_request(&self) -> bool {
        self.requests.fetch_add(1, Ordering::AcqRel);
        self.requests_unanswered.fetch_add(1, Ordering::AcqRel) < MAX_REQUESTS_AN_ANSWER
    }

    /// The server's certificate is about to be judged. False where that was too often: each message after a handshake of TLS
    /// 1.3 calls for it.
    #[cfg(any(windows, test))]
    pub(crate) fn note_judgement(&self) -> bool {
        self.judgements.fetch_add(1, Ordering::AcqRel) < MAX_JUDGEMENTS_AN_ANSWER
    }

    /// The server shows a certificate that has been verified. False where it showed another one before.
    pub(crate) fn note_server(&self, certificate: &[u8]) -> bool {
        let digest: [u8; 32] = Sha256::digest(certificate).into();
        let same = *self.server.get_or_init(|| digest) == digest;
        if !same {
            self.server_changed.store(true, Ordering::Release);
        }
        same
    }
}

/// A server that asks for the certificate over and over would have the key sign for ever.
const MAX_REQUESTS_AN_ANSWER: u32 = 8;

#[cfg(any(windows, test))]
const MAX_JUDGEMENTS_AN_ANSWER: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_shows_another_certificate_is_refused() {
        let notes = SessionNotes::new(TlsEngine::OpenSsl, true);
        assert!(notes.note_server(b"one"));
        assert!(notes.note_server(b"one"));
        assert!(!notes.server_changed());
        assert!(!notes.note_server(b"two"));
        assert!(notes.server_changed());
        assert!(notes.note_server(b"one"));
    }

    #[test]
    fn an_answer_clears_the_doubt_and_not_the_request() {
        let notes = SessionNotes::new(TlsEngine::OpenSsl, true);
        assert!(!notes.certificate_requested() && !notes.certificate_in_doubt());
        assert!(notes.note_request());
        assert!(notes.certificate_requested() && notes.certificate_in_doubt());
        notes.answered();
        assert!(notes.certificate_requested() && !notes.certificate_in_doubt());
    }

    #[test]
    fn a_server_cannot_ask_for_ever() {
        let notes = SessionNotes::new(TlsEngine::OpenSsl, true);
        assert_eq!((0..100).filter(|_| notes.note_request()).count(), 8);
        assert_eq!((0..100).filter(|_| notes.note_judgement()).count(), 64);
        notes.answered();
        assert!(notes.note_request());
        assert!(notes.note_judgement());
    }
}
