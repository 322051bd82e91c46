//! A parser of DER, independent of the client's encoder, so that the emulator does not share its errors.

/// One element: tag, content, and all bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'a> {
    pub tag: u8,
    pub content: &'a [u8],
    pub raw: &'a [u8],
}

/// Reads one element after another; `None` for anything that is not DER or not expected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next element: a tag of one byte and a definite length in its shortest form.
    pub fn next(&mut self) -> Option<Element<'a>> {
        let (&tag, rest) = self.0.split_first()?;
        if tag & HIGH_TAG == HIGH_TAG {
            return None;
        }
        let (length, rest) = length(rest)?;
        let (content, rest) = rest.split_at_checked(length)?;
        let raw = &self.0[..self.0.len() - rest.len()];
        self.0 = rest;
        Some(Element { tag, content, raw })
    }

    /// The next element, if it has this tag.
    pub fn expect(&mut self, tag: u8) -> Option<Element<'a>> {
        self.next().filter(|element| element.tag == tag)
    }

    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

/// The only element of `bytes`, with this tag.
pub(super) fn only(bytes: &[u8], tag: u8) -> Option<Element<'_>> {
    let mut reader = Reader::new(bytes);
    reader.expect(tag).filter(|_| reader.is_empty())
}

/// The bytes of a positive INTEGER in its shortest form, without the sign byte.
pub(super) fn positive<'a>(element: &Element<'a>) -> Option<&'a [u8]> {
    let bytes = match element.content {
        [0, rest @ ..] if rest.first()? & 0x80 != 0 => rest,
        [first, ..] if *first != 0 && first & 0x80 == 0 => element.content,
        _ => return None,
    };
    Some(bytes)
}

/// The bytes of a BIT STRING without unused bits.
pub(super) fn whole_bytes<'a>(element: &Element<'a>) -> Option<&'a [u8]> {
    match element.content {
        [0, bytes @ ..] => Some(bytes),
        _ => None,
    }
}

fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        return Some((first.into(), rest));
    }
    let count = usize::from(first & 0x7f);
    if !(1..=MAX_LENGTH_BYTES).contains(&count) {
        return None;
    }
    let (digits, rest) = rest.split_at_checked(count)?;
    let length = digits
        .iter()
        .fold(0, |length, digit| length << 8 | usize::from(*digit));
    let shortest = digits[0] != 0 && length >= 0x80;
    shortest.then_some((length, rest))
}

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OID: u8 = 0x06;
pub(super) const UTF8_STRING: u8 = 0x0c;
pub(super) const PRINTABLE_STRING: u8 = 0x13;
pub(super) const IA5_STRING: u8 = 0x16;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
/// `[0]`, constructed.
pub(super) const CONTEXT_0: u8 = 0xa0;
/// A tag of several bytes.
const HIGH_TAG: u8 = 0x1f;
/// No request is longer than 16 MiB.
const MAX_LENGTH_BYTES: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_elements_to_the_end() {
        let mut reader = Reader::new(&[0x02, 1, 5, 0x30, 0]);
        let first = reader.expect(INTEGER).unwrap();
        assert_eq!((first.content, first.raw), (&[5][..], &[2, 1, 5][..]));
        assert_eq!(reader.next().unwrap().tag, SEQUENCE);
        assert!(reader.is_empty() && reader.next().is_none());
    }

    #[test]
    fn rejects_invalid_der() {
        for bytes in [
            &[][..],
            &[0x02],
            &[0x02, 2, 0],
            &[0x1f, 1, 0],
            // Indefinite, not shortest (twice), too long.
            &[0x30, 0x80, 0, 0],
            &[0x02, 0x81, 1, 0],
            &[0x02, 0x82, 0, 0x80],
            &[0x02, 0x84, 0, 0, 0, 1, 0],
            &[0x02, 0x89],
        ] {
            assert!(Reader::new(bytes).next().is_none(), "{bytes:?}");
        }
    }

    #[test]
    fn accepts_only_positive_integers_in_shortest_form() {
        let read = |bytes: &'static [u8]| {
            positive(&Element {
                tag: INTEGER,
                content: bytes,
                raw: bytes,
            })
        };
        assert_eq!(read(&[0, 0x80]), Some(&[0x80][..]));
        assert_eq!(read(&[0x7f]), Some(&[0x7f][..]));
        for bytes in [&[][..], &[0], &[0x80], &[0, 0x7f]] {
            assert_eq!(read(bytes), None, "{bytes:?}");
        }
    }
}
