//! What Windows keeps of the way to the network.
use crate::TransportError;
use keybound_core::BoxError;
use std::fmt;

/// Where Windows keeps settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    User,
    Machine,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "the user's proxy settings",
            Self::Machine => "the machine's proxy settings",
        })
    }
}

/// The settings in one place.
#[derive(Default)]
pub(super) struct Settings {
    /// Servers, as [`https_proxy`](super::winhttp::https_proxy) reads them.
    pub(super) proxies: Option<String>,
    /// What is reached without them, as [`exceptions`](super::winhttp::exceptions) reads it.
    pub(super) bypass: Option<String>,
    pub(super) names_script: bool,
    pub(super) asks_for_detection: bool,
}

/// Why a setting is left aside.
#[derive(Debug)]
pub(super) enum Unfollowed {
    Script,
    Detection,
    Proxies(TransportError),
    /// They are longer than [`MAX_UNITS`].
    TooLong,
    /// They are no UTF-16.
    NoText,
    /// The function of Windows failed.
    #[cfg_attr(
        not(any(windows, test)),
        expect(dead_code, reason = "what is only for Windows itself")
    )]
    Unreadable(BoxError),
}

impl fmt::Display for Unfollowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Script => f.write_str("name a script, which is not followed"),
            Self::Detection => f.write_str("ask for automatic detection, which is not followed"),
            Self::Proxies(error) => write!(f, "name no proxy that can be used ({error})"),
            Self::TooLong => f.write_str("are longer than allowed"),
            Self::NoText => f.write_str("are not Unicode"),
            Self::Unreadable(error) => write!(f, "cannot be read ({error})"),
        }
    }
}

/// A text of Windows, without the zero that ends it.
pub(super) fn text(units: &[u16]) -> Result<String, Unfollowed> {
    if units.len() > MAX_UNITS {
        return Err(Unfollowed::TooLong);
    }
    String::from_utf16(units).map_err(|_| Unfollowed::NoText)
}

/// The longest setting that is read, in UTF-16 units; those that people write have a few hundred.
const MAX_UNITS: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_input_from_windows() {
        let longest = vec![u16::from(b'x'); MAX_UNITS];
        assert_eq!(text(&longest).unwrap().len(), MAX_UNITS);
        let longer = [&longest[..], &[u16::from(b'x')]].concat();
        assert!(matches!(text(&longer), Err(Unfollowed::TooLong)));
        assert!(matches!(text(&[0xd800, 0x61]), Err(Unfollowed::NoText)));
    }
}
