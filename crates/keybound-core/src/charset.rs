//! Decodes the text of services. A byte order mark is removed: RFC 8259 section 8.1 allows parsers of JSON to ignore one,
//! and some Azure services send it.
use std::borrow::Cow;

/// Returns the bytes without a leading UTF-8 byte order mark.
pub fn strip_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// Decodes the text of a message: UTF-8, or UTF-16 with a byte order mark. Malformed parts become U+FFFD.
pub(crate) fn decode_text(bytes: &[u8]) -> Cow<'_, str> {
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes).into(),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes).into(),
        _ => String::from_utf8_lossy(strip_bom(bytes)),
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let (pairs, _) = bytes.as_chunks::<2>();
    let units: Vec<u16> = pairs.iter().map(|pair| unit(*pair)).collect();
    String::from_utf16_lossy(&units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_one_leading_byte_order_mark() {
        assert_eq!(strip_bom(b"\xef\xbb\xbf{}"), b"{}");
        assert_eq!(strip_bom(b"\xef\xbb\xbf\xef\xbb\xbf{}"), b"\xef\xbb\xbf{}");
        for bytes in [
            &b"{}"[..],
            b"",
            b"\xef\xbb",
            b" \xef\xbb\xbf",
            b"\xff\xfe{\0",
        ] {
            assert_eq!(strip_bom(bytes), bytes);
        }
    }

    #[test]
    fn decodes_by_byte_order_mark() {
        for (bytes, text) in [
            (&b"no"[..], "no"),
            (b"\xef\xbb\xbfno", "no"),
            (b"\xff\xfen\0o\0", "no"),
            (b"\xfe\xff\0n\0o", "no"),
            (b"\xff\xfen\0o", "n"),
            (b"\xff\xfe\0\xd8", "\u{fffd}"),
            (b"\xc3\xa9t\xc3\xa9", "\u{e9}t\u{e9}"),
            (b"v\xe1lidas", "v\u{fffd}lidas"),
        ] {
            assert_eq!(decode_text(bytes), text, "{bytes:?}");
        }
    }
}
