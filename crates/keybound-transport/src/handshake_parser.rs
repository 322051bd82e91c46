//! A passive parser of the server's side of TLS handshakes, because SChannel reports little of it.
//!
//! Up to TLS 1.2 the first handshake is not encrypted, and later ones are visible by the type of their records (RFC 5246,
//! sections 6.2.1 and 7.4). Of TLS 1.3 only the version is visible (RFC 8446, section 4.1.3).
use std::ops::RangeInclusive;

/// An event in the data from a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandshakeEvent {
    /// The server selects TLS 1.2.
    Tls12,
    /// The server selects TLS 1.3.
    Tls13,
    /// The server requests the client certificate in the first handshake.
    CertificateRequest,
    /// The server begins another handshake.
    Renegotiation,
    /// The server ends the handshake with an unencrypted alert of this description.
    Alert(u8),
    /// The data is not a TLS record.
    NotTls,
}

/// Parses the data from a server.
#[derive(Debug, Default)]
pub(crate) struct HandshakeParser {
    stage: Stage,
    /// The header of the current record, as far as received.
    head: Vec<u8>,
    record: Option<Record>,
    message: Message,
    /// The current alert: level and description.
    alert: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// In the first handshake, before encryption.
    #[default]
    Clear,
    /// Before the encrypted message that ends a handshake.
    Finishing,
    /// After a handshake.
    Protected,
    /// In a later handshake.
    Renegotiating,
    /// Nothing more is visible.
    Opaque,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    kind: u8,
    /// The remaining bytes of its content.
    remaining: usize,
}

/// The current handshake message.
#[derive(Debug, Default)]
struct Message {
    /// Its header, and the part of its body that is parsed.
    bytes: Vec<u8>,
    /// The remaining bytes of its body; valid once the header is complete.
    remaining: usize,
}

impl HandshakeParser {
    /// Parses the next bytes from the server and reports the events in them.
    pub(crate) fn parse(&mut self, mut bytes: &[u8], mut report: impl FnMut(HandshakeEvent)) {
        while self.stage != Stage::Opaque && !bytes.is_empty() {
            let Some(record) = self.record else {
                bytes = self.begin_record(bytes, &mut report);
                continue;
            };
            let (content, rest) = bytes.split_at(record.remaining.min(bytes.len()));
            self.content(record.kind, content, &mut report);
            let remaining = record.remaining - content.len();
            self.record = (remaining > 0).then_some(Record {
                remaining,
                ..record
            });
            bytes = rest;
        }
    }

    fn begin_record<'a>(
        &mut self,
        bytes: &'a [u8],
        report: &mut impl FnMut(HandshakeEvent),
    ) -> &'a [u8] {
        let missing = RECORD_HEADER - self.head.len();
        let (head, rest) = bytes.split_at(missing.min(bytes.len()));
        self.head.extend_from_slice(head);
        let [kind, major, _, high, low] = self.head[..] else {
            return rest;
        };
        self.head.clear();
        let remaining = usize::from(u16::from_be_bytes([high, low]));
        if !CONTENT_TYPES.contains(&kind) || major != 3 || remaining > MAX_RECORD {
            report(HandshakeEvent::NotTls);
            self.stage = Stage::Opaque;
        } else if remaining > 0 {
            self.record = Some(Record { kind, remaining });
            self.on_record_start(kind, report);
        }
        rest
    }

    fn on_record_start(&mut self, kind: u8, report: &mut impl FnMut(HandshakeEvent)) {
        self.stage = match (self.stage, kind) {
            (Stage::Clear | Stage::Renegotiating, CHANGE_CIPHER_SPEC) => Stage::Finishing,
            (Stage::Finishing, HANDSHAKE) => Stage::Protected,
            (Stage::Protected, HANDSHAKE) => {
                report(HandshakeEvent::Renegotiation);
                Stage::Renegotiating
            }
            (stage, _) => stage,
        };
    }

    fn content(&mut self, kind: u8, content: &[u8], report: &mut impl FnMut(HandshakeEvent)) {
        match (self.stage, kind) {
            (Stage::Clear, HANDSHAKE) => self.handshake(content, report),
            (Stage::Clear, ALERT) => self.alert(content, report),
            _ => {}
        }
    }

    /// A warning does not end the handshake: some servers send one for an unknown name (RFC 6066, section 3).
    fn alert(&mut self, content: &[u8], report: &mut impl FnMut(HandshakeEvent)) {
        for byte in content {
            self.alert.push(*byte);
            let [level, description] = self.alert[..] else {
                continue;
            };
            self.alert.clear();
            if level != WARNING {
                report(HandshakeEvent::Alert(description));
                self.stage = Stage::Opaque;
                return;
            }
        }
    }

    /// Messages may span records.
    fn handshake(&mut self, mut content: &[u8], report: &mut impl FnMut(HandshakeEvent)) {
        while self.stage == Stage::Clear && !content.is_empty() {
            let message = &mut self.message;
            let missing = MESSAGE_HEADER.saturating_sub(message.bytes.len());
            if missing > 0 {
                let (head, rest) = content.split_at(missing.min(content.len()));
                message.bytes.extend_from_slice(head);
                content = rest;
                if let [_, high, middle, low] = message.bytes[..] {
                    message.remaining = u32::from_be_bytes([0, high, middle, low]) as usize;
                }
            } else {
                let (body, rest) = content.split_at(message.remaining.min(content.len()));
                if message.bytes[0] == SERVER_HELLO {
                    let room = MAX_HELLO.saturating_sub(message.bytes.len());
                    message
                        .bytes
                        .extend_from_slice(&body[..body.len().min(room)]);
                }
                message.remaining -= body.len();
                content = rest;
            }
            if self.message.bytes.len() >= MESSAGE_HEADER && self.message.remaining == 0 {
                self.on_message_end(report);
            }
        }
    }

    fn on_message_end(&mut self, report: &mut impl FnMut(HandshakeEvent)) {
        let message = std::mem::take(&mut self.message);
        match message.bytes[0] {
            SERVER_HELLO if is_tls_13(&message.bytes[MESSAGE_HEADER..]) => {
                report(HandshakeEvent::Tls13);
                self.stage = Stage::Opaque;
            }
            SERVER_HELLO => report(HandshakeEvent::Tls12),
            CERTIFICATE_REQUEST => report(HandshakeEvent::CertificateRequest),
            _ => {}
        }
    }
}

/// Whether the body of a `ServerHello` selects TLS 1.3, with the extension `supported_versions`.
fn is_tls_13(hello: &[u8]) -> bool {
    let extensions = || {
        let after_random = hello.get(2 + 32..)?;
        let (&session_id_length, rest) = after_random.split_first()?;
        // After the session id: cipher suite, compression method, length of the extensions.
        rest.get(usize::from(session_id_length) + 2 + 1 + 2..)
    };
    let mut rest = extensions().unwrap_or_default();
    while let [a, b, high, low, more @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some((value, next)) = more.split_at_checked(length) else {
            return false;
        };
        if u16::from_be_bytes([*a, *b]) == SUPPORTED_VERSIONS {
            return value == TLS_13;
        }
        rest = next;
    }
    false
}

/// Content types of records: from `change_cipher_spec` to `application_data`.
const CONTENT_TYPES: RangeInclusive<u8> = 20..=23;
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
/// An alert level.
const WARNING: u8 = 1;
const SERVER_HELLO: u8 = 2;
const CERTIFICATE_REQUEST: u8 = 13;
const SUPPORTED_VERSIONS: u16 = 43;
const TLS_13: [u8; 2] = [3, 4];
const RECORD_HEADER: usize = 5;
const MESSAGE_HEADER: usize = 4;
/// Encryption may add 2048 bytes to 2^14 (RFC 5246, section 6.2.3).
const MAX_RECORD: usize = (1 << 14) + 2048;
/// Hellos with several key shares have a few KiB.
const MAX_HELLO: usize = 1 << 14;

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[kind, 3, 3], &length[..], content].concat()
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[kind], &length[1..], body].concat()
    }

    fn hello(extensions: &[u8]) -> Vec<u8> {
        let length = u16::try_from(extensions.len()).unwrap().to_be_bytes();
        let fixed = [&[3, 3][..], &[7; 32], &[2, 9, 9], &[0xC0, 0x2F, 0]].concat();
        message(SERVER_HELLO, &[&fixed[..], &length, extensions].concat())
    }

    fn events(bytes: &[u8], step: usize) -> Vec<HandshakeEvent> {
        let (mut parser, mut events) = (HandshakeParser::default(), vec![]);
        for piece in bytes.chunks(step) {
            parser.parse(piece, |event| events.push(event));
        }
        events
    }

    /// A TLS 1.2 handshake with a certificate request, data, and a renegotiation.
    fn tls_12() -> Vec<u8> {
        let flight = [
            hello(&[0, 16, 0, 2, 1, 1]),
            message(11, &[1; 40_000]),
            message(CERTIFICATE_REQUEST, &[1; 20]),
            message(14, &[]),
        ]
        .concat();
        let mut bytes: Vec<u8> = flight
            .chunks(16_000)
            .flat_map(|part| record(HANDSHAKE, part))
            .collect();
        for (kind, content) in [
            (CHANGE_CIPHER_SPEC, &[1][..]),
            (HANDSHAKE, &[0xEE; 40]),
            (23, &[0xEE; 100]),
            (HANDSHAKE, &[0xEE; 28]),
            (HANDSHAKE, &[0xEE; 2000]),
            (CHANGE_CIPHER_SPEC, &[0xEE; 30]),
            (HANDSHAKE, &[0xEE; 40]),
            (23, &[0xEE; 100]),
            (HANDSHAKE, &[0xEE; 28]),
        ] {
            bytes.extend(record(kind, content));
        }
        bytes
    }

    #[test]
    fn reports_tls_12_handshakes_in_pieces_of_any_size() {
        for step in [1, 2, 3, 7, 1000, usize::MAX] {
            assert_eq!(
                events(&tls_12(), step),
                [
                    HandshakeEvent::Tls12,
                    HandshakeEvent::CertificateRequest,
                    HandshakeEvent::Renegotiation,
                    HandshakeEvent::Renegotiation
                ]
            );
        }
    }

    #[test]
    fn reports_only_the_version_of_tls_13() {
        let choice = [0, 51, 0, 4, 0, 29, 0, 0, 0, 43, 0, 2, 3, 4];
        let bytes = [
            record(HANDSHAKE, &hello(&choice)),
            record(CHANGE_CIPHER_SPEC, &[1]),
            record(HANDSHAKE, &[1; 40]),
            record(HANDSHAKE, &[1; 40]),
        ]
        .concat();
        assert_eq!(events(&bytes, 5), [HandshakeEvent::Tls13]);
    }

    #[test]
    fn reports_unencrypted_alerts() {
        let bytes = [record(HANDSHAKE, &hello(&[])), record(ALERT, &[2, 48])].concat();
        for step in [1, 100] {
            assert_eq!(
                events(&bytes, step),
                [HandshakeEvent::Tls12, HandshakeEvent::Alert(48)]
            );
        }
        let encrypted = [tls_12(), record(ALERT, &[9; 26])].concat();
        assert!(!events(&encrypted, 9).contains(&HandshakeEvent::Alert(9)));
    }

    #[test]
    fn continues_after_a_warning() {
        let unknown_name = record(ALERT, &[WARNING, 112]);
        for step in [1, 2, usize::MAX] {
            let bytes = [&unknown_name[..], &unknown_name, &tls_12()].concat();
            assert_eq!(events(&bytes, step), events(&tls_12(), step));
            let rejected = [&unknown_name[..], &record(ALERT, &[2, 40])].concat();
            assert_eq!(events(&rejected, step), [HandshakeEvent::Alert(40)]);
        }
    }

    #[test]
    fn reports_other_protocols_once() {
        for bytes in [
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            &[22, 3, 3, 0xFF, 0xFF, 13, 0, 0, 0, 0, 0],
            &[22, 2, 0, 0, 1, 0],
            &[24, 3, 3, 0, 1, 0],
        ] {
            assert_eq!(events(bytes, 3), [HandshakeEvent::NotTls]);
        }
    }

    #[test]
    fn incomplete_messages_report_nothing() {
        for bytes in [
            &record(HANDSHAKE, &[13; 9])[..],
            &record(HANDSHAKE, &message(SERVER_HELLO, &[]))[..8],
            &[22, 3, 3, 0],
        ] {
            assert_eq!(events(bytes, 3), []);
        }
    }

    #[test]
    fn truncated_hellos_are_not_tls_13() {
        let whole = hello(&[0, 43, 0, 2, 3, 4]);
        for length in MESSAGE_HEADER..whole.len() {
            assert!(!is_tls_13(&whole[MESSAGE_HEADER..length]), "{length}");
        }
        assert!(is_tls_13(&whole[MESSAGE_HEADER..]));
    }
}
