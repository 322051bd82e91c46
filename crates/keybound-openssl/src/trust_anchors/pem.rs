//! A PEM parser (RFC 7468) that finds the same blocks in CA files as OpenSSL: a boundary is at the start of a line, and text outside
//! of boundaries is ignored.
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The text between two boundaries.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block<'a> {
    /// The label, such as `CERTIFICATE`.
    pub(super) label: &'a str,
    /// The decoded content; `None` if it is not base64 or has no end.
    pub(super) content: Option<Vec<u8>>,
}

/// The blocks of a text, which may start with a UTF-8 byte order mark and have any line endings.
pub(super) fn blocks(text: &[u8]) -> Vec<Block<'_>> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut lines = text
        .split(|byte| matches!(byte, b'\n' | b'\r'))
        .map(<[u8]>::trim_ascii_end);
    let mut blocks = vec![];
    while let Some(line) = lines.next() {
        if let Some(label) = boundary(line, b"-----BEGIN ") {
            let content = content(&mut lines, label);
            blocks.push(Block { label, content });
        }
    }
    blocks
}

/// The label of a line that is a boundary of this kind.
fn boundary<'a>(line: &'a [u8], start: &[u8]) -> Option<&'a str> {
    let label = line.strip_prefix(start)?.strip_suffix(b"-----")?;
    std::str::from_utf8(label).ok()
}

/// Reads the content up to the boundary at the end of the block.
fn content<'a>(lines: &mut impl Iterator<Item = &'a [u8]>, label: &str) -> Option<Vec<u8>> {
    let mut base64 = vec![];
    for line in lines {
        if let Some(end) = boundary(line, b"-----END ") {
            return (end == label)
                .then(|| STANDARD.decode(&base64).ok())
                .flatten();
        }
        base64.extend(line.iter().filter(|byte| !byte.is_ascii_whitespace()));
    }
    None
}

/// Describes a text without a certificate, as a predicate of "the text".
pub(super) fn describe(text: &[u8]) -> String {
    let contains = |part: &[u8]| text.windows(part.len()).any(|window| window == part);
    let first = blocks(text).into_iter().next();
    // A label contains no dashes (RFC 7468, section 3): otherwise the whole text is on one line.
    if let Some(block) = first.filter(|block| !block.label.contains("-----")) {
        return match block.label {
            label if label.ends_with("PRIVATE KEY") => "contains a private key".to_owned(),
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => {
                "contains a certificate request".to_owned()
            }
            "PKCS7" | "CMS" => format!("is PKCS#7 ({PKCS7_HINT}`)"),
            "X509 CRL" => "contains a revocation list".to_owned(),
            "PUBLIC KEY" | "RSA PUBLIC KEY" => "contains a public key".to_owned(),
            _ => "contains PEM of another type".to_owned(),
        };
    }
    match text {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [b'-', 0, ..] | [0, b'-', ..] => {
            "is not PEM: it looks like UTF-16 (save it as UTF-8)".to_owned()
        }
        [0x30, ..] if contains(PKCS7_SIGNED_DATA) => {
            format!("is not PEM: it looks like PKCS#7 ({PKCS7_HINT} -inform der`)")
        }
        [0x30, ..] if contains(PKCS7_DATA) => {
            "is not PEM: it looks like PKCS#12 (extract the certificates with `openssl pkcs12 -nokeys`)".to_owned()
        }
        [0x30, length, ..] if *length >= 0x80 => {
            "is not PEM: it looks like DER (convert it with `openssl x509 -inform der`)".to_owned()
        }
        _ if contains(br"-----BEGIN CERTIFICATE-----\n")
            || contains(br"-----BEGIN CERTIFICATE-----\r") =>
        {
            r"is not PEM: its line breaks are written as \n".to_owned()
        }
        [0x1f, 0x8b, ..] => "is not PEM: it looks like gzip".to_owned(),
        _ if is_one_line(text) => {
            "is not PEM: the boundaries and the base64 text are on one line".to_owned()
        }
        _ if is_base64_of_der(text) => "is not PEM: it is base64 without boundaries".to_owned(),
        _ if is_indented(text) => "is not PEM: its lines are indented".to_owned(),
        _ => "is not PEM".to_owned(),
    }
}

fn is_indented(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n')
        .any(|line| boundary(line.trim_ascii(), b"-----BEGIN ").is_some())
}

fn is_one_line(text: &[u8]) -> bool {
    let line = text.trim_ascii();
    line.starts_with(b"-----BEGIN ") && !line.contains(&b'\n')
}

fn is_base64_of_der(text: &[u8]) -> bool {
    let mut base64 = text.to_vec();
    base64.retain(|byte| !byte.is_ascii_whitespace());
    STANDARD
        .decode(base64)
        .is_ok_and(|der| matches!(der[..], [0x30, length, ..] if length >= 0x80))
}

/// The object identifier of `data` (1.2.840.113549.1.7.1), in DER: the content of PKCS#12 (RFC 7292 section 4).
const PKCS7_DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
/// The object identifier of `signedData` (1.2.840.113549.1.7.2), in DER.
const PKCS7_SIGNED_DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
const PKCS7_HINT: &str = "extract the certificates with `openssl pkcs7 -print_certs";

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(&str, Option<Vec<u8>>)> {
        blocks(text.as_bytes())
            .into_iter()
            .map(|block| (block.label, block.content.as_deref().map(<[u8]>::to_vec)))
            .collect()
    }

    #[test]
    fn finds_boundaries_at_the_start_of_a_line() {
        let one = "-----BEGIN A-----\nAAEC\n-----END A-----\n";
        let read = [("A", Some(vec![0, 1, 2]))];
        for text in [
            one.to_owned(),
            one.replace('\n', "\r\n"),
            one.replace('\n', "\r"),
            one.replace('\n', " \t\n"),
            format!("\u{feff}{one}"),
            format!("\n\n{one}"),
            format!("# -----BEGIN A-----\n# AAEC\n# -----END A-----\n{one}"),
            format!("Bag Attributes: ü\nsubject=CN = x\n{one}trailing -----BEGIN A-----"),
            one.replace("AAEC", "AA\nEC"),
            one.replace("AAEC", "  AA EC"),
            one.trim_end().to_owned(),
        ] {
            assert_eq!(found(&text), read, "{text:?}");
        }
        assert_eq!(found(&format!("{one}{one}")).len(), 2);
        for text in [
            "",
            " -----BEGIN A-----\nAAEC\n-----END A-----\n",
            "x",
            "-----BEGIN A----\n",
        ] {
            assert_eq!(found(text), [], "{text:?}");
        }
    }

    #[test]
    fn malformed_blocks_have_no_content() {
        for text in [
            "-----BEGIN A-----",
            "-----BEGIN A-----\nAAEC",
            "-----BEGIN A-----\nAAEC\n-----END B-----",
            "-----BEGIN A-----\nA*EC\n-----END A-----",
            "-----BEGIN A-----\nAAE\n-----END A-----",
            "-----BEGIN A-----\nAAEC\n-----BEGIN A-----\nAAEC\n-----END A-----",
        ] {
            assert_eq!(found(text), [("A", None)], "{text:?}");
        }
    }
}
