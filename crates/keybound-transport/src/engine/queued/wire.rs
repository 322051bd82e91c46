use super::refused;
use crate::observer::{Observer, Seen};
use keybound_core::tls::ConnectionState;
use std::io::{self, Read, Write};
use std::sync::Arc;

/// The ciphertext on its way between TLS and a connection. It takes all that is written, and what is read has to be
/// brought in before: TLS is never in the middle of sending when it has to receive.
pub(crate) struct Wire {
    inbound: Queue,
    outbound: Queue,
    /// The connection has ended.
    ended: bool,
    observer: Observer,
    state: Arc<ConnectionState>,
    /// The server has begun another handshake than the first.
    has_renegotiated: bool,
    /// Why nothing more may be read.
    refusal: Option<&'static str>,
    is_empty_an_end: bool,
    /// All that was there has been read, and more was wanted.
    starved: bool,
}

impl Wire {
    pub(crate) fn new(state: Arc<ConnectionState>) -> Self {
        Self {
            inbound: Queue::default(),
            outbound: Queue::default(),
            ended: false,
            observer: Observer::default(),
            state,
            has_renegotiated: false,
            refusal: None,
            is_empty_an_end: false,
            starved: false,
        }
    }

    /// From now on, `read` returns 0 where there is nothing to read, not `WouldBlock`: SChannel then checks what there is
    /// instead of reporting how much is missing, which Wine's overstates.
    pub(crate) fn report_empty_as_end(&mut self) {
        self.is_empty_an_end = true;
    }

    pub(crate) fn begin_work(&mut self) {
        self.starved = false;
    }

    pub(crate) fn is_starved(&self) -> bool {
        self.starved
    }

    /// Takes what came from the connection; nothing is its end.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.ended |= bytes.is_empty();
        let Self {
            observer,
            state,
            has_renegotiated,
            refusal,
            ..
        } = self;
        if !bytes.is_empty() {
            state.on_record(bytes);
        }
        observer.observe(bytes, |seen| match seen {
            Seen::Tls12 => state.set_version("TLSv1.2"),
            Seen::Tls13 => state.set_version("TLSv1.3"),
            // A server renegotiates to ask for the certificate; what exactly it asks for is encrypted.
            Seen::CertificateRequest | Seen::Renegotiation => {
                if seen == Seen::Renegotiation {
                    *has_renegotiated = true;
                    // The first handshake is complete by then.
                    state.on_first_handshake();
                    if let Err(what) = state.on_handshake_message(true) {
                        *refusal = Some(what);
                    }
                }
                if !state.on_certificate_request() {
                    *refusal = Some("the server asked for the certificate over and over");
                }
            }
            Seen::Alert(description) => state.on_alert(description),
            Seen::NoTls => *refusal = Some("the server does not speak tls"),
        });
        self.inbound.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn has_renegotiated(&self) -> bool {
        self.has_renegotiated
    }

    pub(crate) fn state(&self) -> &ConnectionState {
        &self.state
    }

    /// Has nothing more read, and what was written not sent.
    pub(crate) fn refuse(&mut self, reason: &'static str) {
        self.refusal = Some(reason);
        self.outbound = Queue::default();
    }

    /// What has to go out on the connection.
    pub(crate) fn to_send(&self) -> &[u8] {
        self.outbound.rest()
    }

    /// So much of it has gone out.
    pub(crate) fn sent(&mut self, length: usize) {
        self.outbound.consume(length);
    }

    fn nothing_to_read(&mut self) -> io::Result<usize> {
        if self.ended {
            // Only close_notify ends a stream (RFC 9112, 9.8), and after it nothing is read.
            Err(io::ErrorKind::UnexpectedEof.into())
        } else {
            self.starved = true;
            if self.is_empty_an_end {
                Ok(0)
            } else {
                Err(io::ErrorKind::WouldBlock.into())
            }
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(refusal) = self.refusal {
            return Err(refused(refusal));
        }
        let waiting = self.inbound.rest();
        if waiting.is_empty() {
            return self.nothing_to_read();
        }
        let length = waiting.len().min(buffer.len());
        buffer[..length].copy_from_slice(&waiting[..length]);
        self.inbound.consume(length);
        Ok(length)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outbound.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes that are taken from the front.
#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    taken: usize,
}

impl Queue {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    fn consume(&mut self, length: usize) {
        self.taken += length;
        if self.taken >= self.bytes.len() {
            self.bytes.clear();
            self.taken = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TlsEngine;

    fn wire() -> Wire {
        Wire::new(Arc::new(ConnectionState::new(TlsEngine::SChannel, true)))
    }

    fn read(wire: &mut Wire) -> Result<usize, io::ErrorKind> {
        wire.read(&mut [0; 10]).map_err(|error| error.kind())
    }

    #[test]
    fn nothing_to_read_differs_from_the_end() {
        let mut wire = wire();
        assert_eq!(read(&mut wire), Err(io::ErrorKind::WouldBlock));
        wire.receive(&[22, 3, 3, 0, 7]);
        wire.receive(&[14, 0, 0, 0, 14, 0, 0]);
        assert_eq!(read(&mut wire), Ok(10));
        assert_eq!(read(&mut wire), Ok(2));
        wire.report_empty_as_end();
        wire.begin_work();
        assert_eq!(read(&mut wire), Ok(0));
        assert!(wire.is_starved());
        wire.begin_work();
        assert!(!wire.is_starved());
        wire.receive(&[]);
        assert_eq!(read(&mut wire), Err(io::ErrorKind::UnexpectedEof));
        assert!(!wire.is_starved());
    }

    #[test]
    fn what_is_written_waits_to_be_sent() {
        let mut wire = wire();
        wire.write_all(b"abc").unwrap();
        wire.write_all(b"de").unwrap();
        wire.sent(2);
        assert_eq!(wire.to_send(), b"cde");
        wire.sent(3);
        assert!(wire.to_send().is_empty());
    }

    #[test]
    fn nothing_goes_to_a_peer_that_is_refused() {
        let mut wire = wire();
        wire.receive(&[23, 3, 3, 0, 1, 0]);
        wire.write_all(b"secret").unwrap();
        wire.refuse("no");
        assert!(wire.to_send().is_empty());
        assert_eq!(read(&mut wire), Err(io::ErrorKind::Other));
    }

    #[test]
    fn a_server_that_begins_a_handshake_on_an_idle_connection_is_not_read() {
        for is_idle in [false, true] {
            let mut wire = wire();
            for kind in [20, 22] {
                wire.receive(&[kind, 3, 3, 0, 1, 1]);
            }
            wire.state.set_idle(is_idle);
            wire.receive(&[22, 3, 3, 0, 1, 1]);
            assert_eq!(read(&mut wire).is_err(), is_idle);
        }
    }

    #[test]
    fn a_server_that_asks_for_ever_or_speaks_no_tls_is_not_read() {
        let hello = [2, 0, 0, 38].into_iter().chain([3, 3]).chain([0; 36]);
        let handshake: Vec<u8> = hello.collect();
        let record = |kind: u8, content: &[u8]| {
            let length = u8::try_from(content.len()).unwrap();
            [&[kind, 3, 3, 0, length], content].concat()
        };
        let mut pestering = wire();
        pestering.receive(&record(22, &handshake));
        assert!(!pestering.has_renegotiated());
        for _ in 0..9 {
            assert!(pestering.refusal.is_none());
            // Its end, and the beginning of another.
            for kind in [20, 22, 22] {
                pestering.receive(&record(kind, &[1]));
            }
            assert!(pestering.has_renegotiated());
        }
        assert_eq!(read(&mut pestering), Err(io::ErrorKind::Other));
        let mut mute = wire();
        mute.receive(b"HTTP/1.1 400 Bad Request\r\n");
        assert_eq!(read(&mut mute), Err(io::ErrorKind::Other));
    }
}
