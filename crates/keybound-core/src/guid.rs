use std::fmt;
use std::hash::{Hash, Hasher};

/// A GUID in its 36-character form. It keeps the letters as they came (the CSR repeats them); equality ignores case.
#[derive(Clone)]
pub struct Guid(String);

impl Guid {
    /// Reads the form `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let well_formed = text.len() == 36
            && text
                .bytes()
                .enumerate()
                .all(|(position, byte)| match position {
                    8 | 13 | 18 | 23 => byte == b'-',
                    _ => byte.is_ascii_hexdigit(),
                });
        well_formed.then(|| Self(text.to_owned()))
    }

    /// The text as it came.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `text` is this GUID, ignoring case.
    pub fn matches(&self, text: &str) -> bool {
        self.0.eq_ignore_ascii_case(text)
    }
}

impl PartialEq for Guid {
    fn eq(&self, other: &Self) -> bool {
        self.matches(&other.0)
    }
}

impl Eq for Guid {}

impl Hash for Guid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for byte in self.0.bytes() {
            state.write_u8(byte.to_ascii_lowercase());
        }
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equality_ignores_case_and_text_is_kept() {
        let upper = Guid::parse("0A000000-0000-0000-0000-00000000000B").unwrap();
        let lower = Guid::parse("0a000000-0000-0000-0000-00000000000b").unwrap();
        assert_eq!(upper, lower);
        assert_eq!(upper.as_str(), "0A000000-0000-0000-0000-00000000000B");
    }

    #[test]
    fn other_shapes_are_refused() {
        for text in [
            "",
            "0a000000000000000000000000000000000b",
            "{0a000000-0000-0000-0000-00000000000b}",
            "0a000000-0000-0000-0000-00000000000g",
            "0a000000-0000-0000-0000-00000000000b\n",
            "0a000000-0000-0000-0000-0000000000\u{e4}",
        ] {
            assert!(Guid::parse(text).is_none(), "{text:?}");
        }
    }
}
