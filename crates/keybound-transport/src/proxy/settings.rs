//! The proxy settings of Windows.
use crate::TransportError;
use keybound_core::BoxError;
use std::fmt;

/// Whose settings they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SettingsSource {
    User,
    Machine,
}

impl fmt::Display for SettingsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "the user's proxy settings",
            Self::Machine => "the machine's proxy settings",
        })
    }
}

/// The settings of one source.
#[derive(Default)]
pub(super) struct Settings {
    /// The list that [`https_proxy`](super::winhttp_lists::https_proxy) parses.
    pub(super) proxies: Option<String>,
    /// The list that [`exceptions`](super::winhttp_lists::exceptions) parses.
    pub(super) bypass: Option<String>,
    pub(super) has_script: bool,
    pub(super) has_detection: bool,
}

/// Why a setting is not used.
#[derive(Debug)]
pub(super) enum SkippedSetting {
    Script,
    Detection,
    Proxies(TransportError),
    /// Longer than [`MAX_UNITS`].
    TooLong,
    /// Not UTF-16.
    NotUnicode,
    /// The Windows function failed.
    #[cfg_attr(
        not(any(windows, test)),
        expect(dead_code, reason = "constructed on Windows only")
    )]
    Unreadable(BoxError),
}

impl fmt::Display for SkippedSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Script => f.write_str("name a script, which is not followed"),
            Self::Detection => f.write_str("ask for automatic detection, which is not followed"),
            Self::Proxies(error) => write!(f, "name no proxy that can be used ({error})"),
            Self::TooLong => f.write_str("are longer than allowed"),
            Self::NotUnicode => f.write_str("are not Unicode"),
            Self::Unreadable(error) => write!(f, "cannot be read ({error})"),
        }
    }
}

/// Decodes a text of Windows, without the terminating zero.
pub(super) fn text(units: &[u16]) -> Result<String, SkippedSetting> {
    if units.len() > MAX_UNITS {
        return Err(SkippedSetting::TooLong);
    }
    String::from_utf16(units).map_err(|_| SkippedSetting::NotUnicode)
}

/// The maximum length of a setting in UTF-16 units; usual ones have a few hundred.
const MAX_UNITS: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_input_from_windows() {
        let longest = vec![u16::from(b'x'); MAX_UNITS];
        assert_eq!(text(&longest).unwrap().len(), MAX_UNITS);
        let longer = [&longest[..], &[u16::from(b'x')]].concat();
        assert!(matches!(text(&longer), Err(SkippedSetting::TooLong)));
        assert!(matches!(
            text(&[0xd800, 0x61]),
            Err(SkippedSetting::NotUnicode)
        ));
    }
}
