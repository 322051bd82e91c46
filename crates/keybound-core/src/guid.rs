use crate::{Error, Result, Stage};
use std::fmt;
use std::hash::{Hash, Hasher};

/// A GUID in its 36-character form. Comparison ignores case; the text keeps its case, as the CSR needs it.
#[derive(Clone)]
pub struct Guid(String);

impl Guid {
    /// Parses the form `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let well_formed = text.len() == LENGTH
            && text
                .bytes()
                .enumerate()
                .all(|(position, byte)| match position {
                    8 | 13 | 18 | 23 => byte == b'-',
                    _ => byte.is_ascii_hexdigit(),
                });
        well_formed.then(|| Self(text.to_owned()))
    }

    /// Parses the member of a response that `what` names.
    pub(crate) fn from_response(text: &str, stage: Stage, what: &str) -> Result<Self> {
        Self::parse(text)
            .ok_or_else(|| Error::invalid_response(stage, format!("{what} is not a GUID")))
    }

    /// The text in its original case.
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
        // In one piece: hashing byte by byte takes several times as long.
        let mut lower = [0; LENGTH];
        lower.copy_from_slice(self.0.as_bytes());
        lower.make_ascii_lowercase();
        state.write(&lower);
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

const LENGTH: usize = 36;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_without_case_and_keeps_text() {
        let upper = Guid::parse("0A000000-0000-0000-0000-00000000000B").unwrap();
        let lower = Guid::parse("0a000000-0000-0000-0000-00000000000b").unwrap();
        assert_eq!(upper, lower);
        assert_eq!(upper.as_str(), "0A000000-0000-0000-0000-00000000000B");
    }

    #[test]
    fn rejects_other_forms() {
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
