use super::rejected;
use crate::handshake_parser::{HandshakeEvent, HandshakeParser};
use keybound_core::tls::ConnectionState;
use std::io::{self, Read, Write};
use std::sync::Arc;

/// The ciphertext between TLS and a connection. It accepts all that TLS writes, and TLS reads only what was received before: TLS
/// never has to receive in the middle of sending.
pub(crate) struct CiphertextBuffers {
    inbound: Queue,
    outbound: Queue,
    /// Whether the connection has ended.
    ended: bool,
    parser: HandshakeParser,
    state: Arc<ConnectionState>,
    /// Whether the server has begun another handshake after the first.
    has_renegotiated: bool,
    /// Why nothing more is read.
    rejection: Option<&'static str>,
    reports_empty_as_end: bool,
    /// Whether TLS has read all data and needed more.
    starved: bool,
}

impl CiphertextBuffers {
    pub(crate) fn new(state: Arc<ConnectionState>) -> Self {
        Self {
            inbound: Queue::default(),
            outbound: Queue::default(),
            ended: false,
            parser: HandshakeParser::default(),
            state,
            has_renegotiated: false,
            rejection: None,
            reports_empty_as_end: false,
            starved: false,
        }
    }

    /// From now on, `read` returns 0 instead of `WouldBlock` if no data is available: SChannel then processes the data that
    /// it has instead of requesting the missing size, which Wine overstates.
    pub(crate) fn report_empty_as_end(&mut self) {
        self.reports_empty_as_end = true;
    }

    pub(crate) fn clear_starved(&mut self) {
        self.starved = false;
    }

    pub(crate) fn is_starved(&self) -> bool {
        self.starved
    }

    /// Adds data from the connection; an empty slice is its end.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.ended |= bytes.is_empty();
        let Self {
            parser,
            state,
            has_renegotiated,
            rejection,
            ..
        } = self;
        if !bytes.is_empty() {
            state.on_record(bytes);
        }
        parser.parse(bytes, |event| match event {
            HandshakeEvent::Tls12 => state.set_version("TLSv1.2"),
            HandshakeEvent::Tls13 => state.set_version("TLSv1.3"),
            // A server renegotiates to request the certificate; the request itself is encrypted.
            HandshakeEvent::CertificateRequest | HandshakeEvent::Renegotiation => {
                if event == HandshakeEvent::Renegotiation {
                    *has_renegotiated = true;
                    // The first handshake is complete by then.
                    state.on_first_handshake();
                    if let Err(violation) = state.on_handshake_message(true) {
                        *rejection = Some(violation);
                    }
                }
                if !state.on_certificate_request() {
                    *rejection = Some("the server requested the certificate too often");
                }
            }
            HandshakeEvent::Alert(description) => state.on_alert(description),
            HandshakeEvent::NotTls => *rejection = Some("the server does not use tls"),
        });
        self.inbound.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn has_renegotiated(&self) -> bool {
        self.has_renegotiated
    }

    pub(crate) fn state(&self) -> &ConnectionState {
        &self.state
    }

    /// Stops reading, and discards ciphertext that was not sent.
    pub(crate) fn reject(&mut self, reason: &'static str) {
        self.rejection = Some(reason);
        self.outbound = Queue::default();
    }

    /// The ciphertext to send.
    pub(crate) fn to_send(&self) -> &[u8] {
        self.outbound.rest()
    }

    /// Removes ciphertext that was sent.
    pub(crate) fn sent(&mut self, length: usize) {
        self.outbound.consume(length);
    }

    fn nothing_to_read(&mut self) -> io::Result<usize> {
        if self.ended {
            // Only close_notify ends a stream (RFC 9112, section 9.8), and after it nothing is read.
            Err(io::ErrorKind::UnexpectedEof.into())
        } else {
            self.starved = true;
            if self.reports_empty_as_end {
                Ok(0)
            } else {
                Err(io::ErrorKind::WouldBlock.into())
            }
        }
    }
}

impl Read for CiphertextBuffers {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(rejection) = self.rejection {
            return Err(rejected(rejection));
        }
        let available = self.inbound.rest();
        if available.is_empty() {
            return self.nothing_to_read();
        }
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.inbound.consume(length);
        Ok(length)
    }
}

impl Write for CiphertextBuffers {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outbound.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A queue of bytes.
#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    /// The bytes removed from the front.
    consumed: usize,
}

impl Queue {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.consumed..]
    }

    fn consume(&mut self, length: usize) {
        self.consumed += length;
        if self.consumed >= self.bytes.len() {
            self.bytes.clear();
            self.consumed = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TlsEngine;

    fn buffers() -> CiphertextBuffers {
        CiphertextBuffers::new(Arc::new(ConnectionState::new(TlsEngine::SChannel, true)))
    }

    fn read(buffers: &mut CiphertextBuffers) -> Result<usize, io::ErrorKind> {
        buffers.read(&mut [0; 10]).map_err(|error| error.kind())
    }

    #[test]
    fn missing_data_differs_from_the_end() {
        let mut buffers = buffers();
        assert_eq!(read(&mut buffers), Err(io::ErrorKind::WouldBlock));
        buffers.receive(&[22, 3, 3, 0, 7]);
        buffers.receive(&[14, 0, 0, 0, 14, 0, 0]);
        assert_eq!(read(&mut buffers), Ok(10));
        assert_eq!(read(&mut buffers), Ok(2));
        buffers.report_empty_as_end();
        buffers.clear_starved();
        assert_eq!(read(&mut buffers), Ok(0));
        assert!(buffers.is_starved());
        buffers.clear_starved();
        assert!(!buffers.is_starved());
        buffers.receive(&[]);
        assert_eq!(read(&mut buffers), Err(io::ErrorKind::UnexpectedEof));
        assert!(!buffers.is_starved());
    }

    #[test]
    fn buffers_written_ciphertext() {
        let mut buffers = buffers();
        buffers.write_all(b"abc").unwrap();
        buffers.write_all(b"de").unwrap();
        buffers.sent(2);
        assert_eq!(buffers.to_send(), b"cde");
        buffers.sent(3);
        assert!(buffers.to_send().is_empty());
    }

    #[test]
    fn discards_ciphertext_for_a_rejected_peer() {
        let mut buffers = buffers();
        buffers.receive(&[23, 3, 3, 0, 1, 0]);
        buffers.write_all(b"secret").unwrap();
        buffers.reject("no");
        assert!(buffers.to_send().is_empty());
        assert_eq!(read(&mut buffers), Err(io::ErrorKind::Other));
    }

    #[test]
    fn rejects_handshakes_on_idle_connections() {
        for is_idle in [false, true] {
            let mut buffers = buffers();
            for kind in [20, 22] {
                buffers.receive(&[kind, 3, 3, 0, 1, 1]);
            }
            buffers.state.set_idle(is_idle);
            buffers.receive(&[22, 3, 3, 0, 1, 1]);
            assert_eq!(read(&mut buffers).is_err(), is_idle);
        }
    }

    #[test]
    fn rejects_repeated_certificate_requests_and_other_protocols() {
        let hello = [2, 0, 0, 38].into_iter().chain([3, 3]).chain([0; 36]);
        let handshake: Vec<u8> = hello.collect();
        let record = |kind: u8, content: &[u8]| {
            let length = u8::try_from(content.len()).unwrap();
            [&[kind, 3, 3, 0, length], content].concat()
        };
        let mut repeating = buffers();
        repeating.receive(&record(22, &handshake));
        assert!(!repeating.has_renegotiated());
        for _ in 0..9 {
            assert!(repeating.rejection.is_none());
            // The end of a handshake, and the beginning of another.
            for kind in [20, 22, 22] {
                repeating.receive(&record(kind, &[1]));
            }
            assert!(repeating.has_renegotiated());
        }
        assert_eq!(read(&mut repeating), Err(io::ErrorKind::Other));
        let mut plain = buffers();
        plain.receive(b"HTTP/1.1 400 Bad Request\r\n");
        assert_eq!(read(&mut plain), Err(io::ErrorKind::Other));
    }
}
