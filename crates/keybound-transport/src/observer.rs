//! Reads a TLS handshake on the wire, because SChannel reports little of it.
//!
//! Up to TLS 1.2 the first handshake is in the clear, later ones show by the type of their records (RFC 5246, 6.2.1 and 7.4).
//! Of TLS 1.3 only the version shows (RFC 8446, 4.1.3).

use std::ops::RangeInclusive;

/// An event in what a server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It has chosen TLS 1.2.
    Tls12,
    /// It has chosen TLS 1.3.
    Tls13,
    /// It asks for the client's certificate in the first handshake.
    CertificateRequest,
    /// It begins another handshake.
    Renegotiation,
    /// It breaks the handshake off with an alert of this description, in the clear.
    Alert(u8),
    /// It sends what is no record of TLS.
    NoTls,
}

/// Follows what a server sends.
#[derive(Debug, Default)]
pub(crate) struct Observer {
    stage: Stage,
    /// The head of the current record.
    head: Vec<u8>,
    record: Option<Record>,
    message: Message,
    /// The current alert: its level and its description.
    alert: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// In the first handshake, before anything is encrypted.
    #[default]
    Clear,
    /// What comes next ends a handshake, and is encrypted.
    Finishing,
    /// After a handshake.
    Protected,
    /// In a later handshake.
    Renegotiating,
    /// Nothing more can be seen.
    Blind,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    kind: u8,
    /// Of its content, in bytes.
    left: usize,
}

/// The current handshake message.
#[derive(Debug, Default)]
struct Message {
    /// Its head and as much of its body as is looked at.
    bytes: Vec<u8>,
    /// Of its body, in bytes; meaningful once the head is there.
    left: usize,
}

impl Observer {
    /// Takes the next bytes that came from the server.
    pub(crate) fn observe(&mut self, mut bytes: &[u8], mut saw: impl FnMut(Seen)) {
        while self.stage != Stage::Blind && !bytes.is_empty() {
            let Some(record) = self.record else {
                bytes = self.begin_record(bytes, &mut saw);
                continue;
            };
            let (content, rest) = bytes.split_at(record.left.min(bytes.len()));
            self.content(record.kind, content, &mut saw);
            let left = record.left - content.len();
            self.record = (left > 0).then_some(Record { left, ..record });
            bytes = rest;
        }
    }

    fn begin_record<'a>(&mut self, bytes: &'a [u8], saw: &mut impl FnMut(Seen)) -> &'a [u8] {
        let wanted = RECORD_HEAD - self.head.len();
        let (head, rest) = bytes.split_at(wanted.min(bytes.len()));
        self.head.extend_from_slice(head);
        let [kind, major, _, high, low] = self.head[..] else {
            return rest;
        };
        self.head.clear();
        let left = usize::from(u16::from_be_bytes([high, low]));
        if !KINDS.contains(&kind) || major != 3 || left > LONGEST_RECORD {
            saw(Seen::NoTls);
            self.stage = Stage::Blind;
        } else if left > 0 {
            self.record = Some(Record { kind, left });
            self.record_begun(kind, saw);
        }
        rest
    }

    fn record_begun(&mut self, kind: u8, saw: &mut impl FnMut(Seen)) {
        self.stage = match (self.stage, kind) {
            (Stage::Clear | Stage::Renegotiating, CHANGE_CIPHER_SPEC) => Stage::Finishing,
            (Stage::Finishing, HANDSHAKE) => Stage::Protected,
            (Stage::Protected, HANDSHAKE) => {
                saw(Seen::Renegotiation);
                Stage::Renegotiating
            }
            (stage, _) => stage,
        };
    }

    fn content(&mut self, kind: u8, content: &[u8], saw: &mut impl FnMut(Seen)) {
        match (self.stage, kind) {
            (Stage::Clear, HANDSHAKE) => self.handshake(content, saw),
            (Stage::Clear, ALERT) => self.alert(content, saw),
            _ => {}
        }
    }

    /// After a warning the handshake goes on: some servers warn of a name that they do not know (RFC 6066, 3).
    fn alert(&mut self, content: &[u8], saw: &mut impl FnMut(Seen)) {
        for byte in content {
            self.alert.push(*byte);
            let [level, description] = self.alert[..] else {
                continue;
            };
            self.alert.clear();
            if level != WARNING {
                saw(Seen::Alert(description));
                self.stage = Stage::Blind;
                return;
            }
        }
    }

    /// Messages lie over the borders of records as they like.
    fn handshake(&mut self, mut content: &[u8], saw: &mut impl FnMut(Seen)) {
        while self.stage == Stage::Clear && !content.is_empty() {
            let message = &mut self.message;
            let missing = MESSAGE_HEAD.saturating_sub(message.bytes.len());
            if missing > 0 {
                let (head, rest) = content.split_at(missing.min(content.len()));
                message.bytes.extend_from_slice(head);
                content = rest;
                if let [_, high, middle, low] = message.bytes[..] {
                    message.left = u32::from_be_bytes([0, high, middle, low]) as usize;
                }
            } else {
                let (body, rest) = content.split_at(message.left.min(content.len()));
                if message.bytes[0] == SERVER_HELLO {
                    let room = LONGEST_HELLO.saturating_sub(message.bytes.len());
                    message
                        .bytes
                        .extend_from_slice(&body[..body.len().min(room)]);
                }
                message.left -= body.len();
                content = rest;
            }
            if self.message.bytes.len() >= MESSAGE_HEAD && self.message.left == 0 {
                self.message_over(saw);
            }
        }
    }

    fn message_over(&mut self, saw: &mut impl FnMut(Seen)) {
        let message = std::mem::take(&mut self.message);
        match message.bytes[0] {
            SERVER_HELLO if is_tls_13(&message.bytes[MESSAGE_HEAD..]) => {
                saw(Seen::Tls13);
                self.stage = Stage::Blind;
            }
            SERVER_HELLO => saw(Seen::Tls12),
            CERTIFICATE_REQUEST => saw(Seen::CertificateRequest),
            _ => {}
        }
    }
}

/// Whether the body of a `ServerHello` chooses TLS 1.3: it does so in the extension `supported_versions`.
fn is_tls_13(hello: &[u8]) -> bool {
    let extensions = || {
        let after_random = hello.get(2 + 32..)?;
        let (&session, rest) = after_random.split_first()?;
        // After the session: cipher suite, compression, length of the extensions.
        rest.get(usize::from(session) + 2 + 1 + 2..)
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

/// Of records: from the change of the cipher to data.
const KINDS: RangeInclusive<u8> = 20..=23;
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
/// Of alerts.
const WARNING: u8 = 1;
const SERVER_HELLO: u8 = 2;
const CERTIFICATE_REQUEST: u8 = 13;
const SUPPORTED_VERSIONS: u16 = 43;
const TLS_13: [u8; 2] = [3, 4];
const RECORD_HEAD: usize = 5;
const MESSAGE_HEAD: usize = 4;
/// RFC 5246, 6.2.3: what encryption may add to 2^14 bytes.
const LONGEST_RECORD: usize = (1 << 14) + 2048;
/// Those with keys of several kinds are a few KiB long.
const LONGEST_HELLO: usize = 1 << 14;

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

    fn seen(bytes: &[u8], step: usize) -> Vec<Seen> {
        let (mut observer, mut seen) = (Observer::default(), vec![]);
        for piece in bytes.chunks(step) {
            observer.observe(piece, |what| seen.push(what));
        }
        seen
    }

    /// A first handshake of TLS 1.2 that asks for the certificate, data, and another handshake.
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
    fn handshakes_of_tls_12_show_however_their_bytes_come() {
        for step in [1, 2, 3, 7, 1000, usize::MAX] {
            assert_eq!(
                seen(&tls_12(), step),
                [
                    Seen::Tls12,
                    Seen::CertificateRequest,
                    Seen::Renegotiation,
                    Seen::Renegotiation
                ]
            );
        }
    }

    #[test]
    fn of_tls_13_only_the_version_shows() {
        let choice = [0, 51, 0, 4, 0, 29, 0, 0, 0, 43, 0, 2, 3, 4];
        let bytes = [
            record(HANDSHAKE, &hello(&choice)),
            record(CHANGE_CIPHER_SPEC, &[1]),
            record(HANDSHAKE, &[1; 40]),
            record(HANDSHAKE, &[1; 40]),
        ]
        .concat();
        assert_eq!(seen(&bytes, 5), [Seen::Tls13]);
    }

    #[test]
    fn alerts_in_the_clear_are_reported() {
        let bytes = [record(HANDSHAKE, &hello(&[])), record(ALERT, &[2, 48])].concat();
        for step in [1, 100] {
            assert_eq!(seen(&bytes, step), [Seen::Tls12, Seen::Alert(48)]);
        }
        let encrypted = [tls_12(), record(ALERT, &[9; 26])].concat();
        assert!(!seen(&encrypted, 9).contains(&Seen::Alert(9)));
    }

    #[test]
    fn after_a_warning_the_handshake_is_followed_on() {
        let unknown_name = record(ALERT, &[WARNING, 112]);
        for step in [1, 2, usize::MAX] {
            let bytes = [&unknown_name[..], &unknown_name, &tls_12()].concat();
            assert_eq!(seen(&bytes, step), seen(&tls_12(), step));
            let refused = [&unknown_name[..], &record(ALERT, &[2, 40])].concat();
            assert_eq!(seen(&refused, step), [Seen::Alert(40)]);
        }
    }

    #[test]
    fn what_is_no_tls_is_reported_once_and_not_parsed() {
        for bytes in [
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            &[22, 3, 3, 0xFF, 0xFF, 13, 0, 0, 0, 0, 0],
            &[22, 2, 0, 0, 1, 0],
            &[24, 3, 3, 0, 1, 0],
        ] {
            assert_eq!(seen(bytes, 3), [Seen::NoTls]);
        }
    }

    #[test]
    fn what_is_not_over_tells_nothing() {
        for bytes in [
            &record(HANDSHAKE, &[13; 9])[..],
            &record(HANDSHAKE, &message(SERVER_HELLO, &[]))[..8],
            &[22, 3, 3, 0],
        ] {
            assert_eq!(seen(bytes, 3), []);
        }
    }

    #[test]
    fn torn_hellos_are_of_no_version_13() {
        let whole = hello(&[0, 43, 0, 2, 3, 4]);
        for length in MESSAGE_HEAD..whole.len() {
            assert!(!is_tls_13(&whole[MESSAGE_HEAD..length]), "{length}");
        }
        assert!(is_tls_13(&whole[MESSAGE_HEAD..]));
    }
}
