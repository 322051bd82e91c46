use der::asn1::{AnyRef, GeneralizedTime, UtcTime};
use der::{Decode as _, Tag, Tagged as _};
use std::borrow::Cow;
use std::time::SystemTime;

/// Parses the value of the extension `token_not_after`: a GeneralizedTime or UTCTime, alone or as the only element of a
/// SEQUENCE. `None` for anything else. Fractions of a second, which .NET writes, are dropped.
pub(super) fn parse(value: &[u8]) -> Option<SystemTime> {
    let value = AnyRef::from_der(value).ok()?;
    match value.tag() {
        Tag::Sequence => time(AnyRef::from_der(value.value()).ok()?),
        _ => time(value),
    }
}

fn time(value: AnyRef<'_>) -> Option<SystemTime> {
    match value.tag() {
        Tag::UtcTime => Some(value.decode_as::<UtcTime>().ok()?.to_system_time()),
        Tag::GeneralizedTime => {
            let text = whole_seconds(value.value())?;
            let value = AnyRef::new(Tag::GeneralizedTime, &text).ok()?;
            Some(value.decode_as::<GeneralizedTime>().ok()?.to_system_time())
        }
        _ => None,
    }
}

/// `YYYYMMDDHHMMSS.fZ` without the fraction (X.690 section 11.7).
fn whole_seconds(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    let Some(point) = text.iter().position(|&byte| byte == b'.') else {
        return Some(Cow::Borrowed(text));
    };
    let fraction = text[point + 1..].strip_suffix(b"Z")?;
    let is_fraction = !fraction.is_empty() && fraction.iter().all(u8::is_ascii_digit);
    is_fraction.then(|| Cow::Owned([&text[..point], b"Z"].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-28T12:34:56Z.
    const END: u64 = 1_795_869_296;

    fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
        [&[tag, u8::try_from(contents.len()).unwrap()], contents].concat()
    }

    fn seconds(value: &[u8]) -> Option<u64> {
        let end = parse(value)?;
        Some(
            end.duration_since(SystemTime::UNIX_EPOCH)
                .unwrap()
                .as_secs(),
        )
    }

    #[test]
    fn parses_both_time_types_alone_and_in_a_sequence() {
        for value in [
            tlv(0x18, b"20261128123456Z"),
            tlv(0x18, b"20261128123456.5Z"),
            tlv(0x18, b"20261128123456.999Z"),
            tlv(0x17, b"261128123456Z"),
        ] {
            assert_eq!(seconds(&value), Some(END), "{value:?}");
            assert_eq!(seconds(&tlv(0x30, &value)), Some(END), "{value:?}");
        }
        assert_eq!(
            seconds(&tlv(0x18, b"20510101000000Z")),
            Some(2_556_144_000),
            "after 2050"
        );
    }

    #[test]
    fn ignores_other_values() {
        let time = tlv(0x18, b"20261128123456Z");
        for value in [
            vec![],
            vec![0x18],
            vec![0x18, 0x7f, b'2'],
            vec![0x30, 0x80],
            tlv(0x18, b""),
            tlv(0x18, b"20261328123456Z"),
            tlv(0x18, b"20261128123456"),
            tlv(0x18, b"20261128123456+0100"),
            tlv(0x18, b"20261128123456.Z"),
            tlv(0x18, b"20261128123456.5"),
            tlv(0x18, b"20261128123456.+5Z"),
            tlv(0x18, b"20261128123456,5Z"),
            tlv(0x17, b"2611281234Z"),
            tlv(0x17, b"20261128123456Z"),
            tlv(0x0c, b"20261128123456Z"),
            tlv(0x02, &[1]),
            tlv(0x30, b""),
            tlv(0x30, &tlv(0x30, &time)),
            tlv(0x30, &[&time[..], &time].concat()),
            tlv(0x31, &time),
            [&time[..], b"x"].concat(),
            [&tlv(0x30, &time)[..], b"x"].concat(),
        ] {
            assert_eq!(seconds(&value), None, "{value:?}");
        }
    }
}
