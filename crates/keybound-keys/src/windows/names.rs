//! Names that processes of one host agree on. Those of certificates and their mutexes are MSAL .NET's, so that both find
//! each other's entries.
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// The name by which a certificate for an identity is found again: `<id>#att=1|0`.
pub(crate) fn alias(identity: Option<&str>, attested: bool) -> String {
    let identity = identity.unwrap_or("system_assigned_managed_identity");
    format!("{identity}#att={}", u8::from(attested))
}

/// What stands in a certificate's friendly name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FriendlyName {
    pub(crate) alias: String,
    /// `<mTLS endpoint>/<tenant>`.
    pub(crate) endpoint: String,
}

impl FriendlyName {
    /// `MSAL|alias=<alias>|ep=<endpoint base>`. `None` where a value is blank or holds what would end it.
    pub(crate) fn encode(&self) -> Option<String> {
        let (alias, endpoint) = (self.alias.trim(), self.endpoint.trim());
        let is_value = |text: &str| !text.is_empty() && !text.contains(['|', '\r', '\n', '\0']);
        (is_value(alias) && is_value(endpoint)).then(|| format!("MSAL|alias={alias}|ep={endpoint}"))
    }

    /// Reads one back. Members of other names are passed over, of two of a name the last one counts, as in MSAL.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        let (mut alias, mut endpoint) = ("", "");
        for (name, value) in text
            .strip_prefix("MSAL|")?
            .split('|')
            .filter_map(|part| part.split_once('='))
        {
            match name.trim() {
                "alias" => alias = value.trim(),
                "ep" => endpoint = value.trim(),
                _ => {}
            }
        }
        let is_whole = !alias.is_empty() && !endpoint.is_empty();
        is_whole.then(|| Self {
            alias: alias.to_owned(),
            endpoint: endpoint.to_owned(),
        })
    }
}

/// The name of a mutex, without `Global\` or `Local\`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MutexName {
    /// One of Keybound's: the SID of the account is appended, since keys and certificates are the account's.
    OfAccount(String),
    /// One that other programs of this account use under exactly this name.
    Shared(String),
}

impl MutexName {
    /// For the replacement of a key.
    pub(crate) fn of_key(name: &str) -> Self {
        Self::OfAccount(hashed("KEYBOUND_KEY_", name))
    }

    /// For the issue of a certificate for an alias.
    pub(crate) fn of_mint(alias: &str) -> Self {
        Self::OfAccount(hashed("KEYBOUND_MINT_", alias))
    }

    /// For writes to the entries of an alias. The name is MSAL .NET's.
    pub(crate) fn of_entries(alias: &str) -> Self {
        Self::Shared(hashed("MSAL_MI_P_", alias))
    }
}

/// Kernel names are short and have no backslash: the first 32 hexadecimal digits of a hash of the upper-case text.
fn hashed(prefix: &str, text: &str) -> String {
    let hash = Sha256::digest(text.trim().to_uppercase());
    let mut name = prefix.to_owned();
    for byte in hash.iter().take(16) {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// Whether a key can have this name: not blank, one line, at most 260 units of UTF-16. What stands for a character that was
/// none was not what somebody wrote.
pub(crate) fn is_key_name(name: &str) -> bool {
    !name.trim().is_empty()
        && !name
            .chars()
            .any(|c| c.is_control() || c == char::REPLACEMENT_CHARACTER)
        && name.encode_utf16().count() <= LONGEST_KEY_NAME
}

/// Whether two names are one container's: the software provider keeps a container in a file that is named by its lower-case
/// name.
pub(crate) fn is_same_key_name(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

const LONGEST_KEY_NAME: usize = 260;

#[cfg(test)]
mod tests {
    use super::*;

    fn name(alias: &str, endpoint: &str) -> FriendlyName {
        FriendlyName {
            alias: alias.to_owned(),
            endpoint: endpoint.to_owned(),
        }
    }

    #[test]
    fn friendly_names_are_those_of_msal() {
        let alias = alias(None, true);
        assert_eq!(alias, "system_assigned_managed_identity#att=1");
        let name = name(&alias, "https://westus.mtlsauth.microsoft.com/72f9");
        let text = name.encode().unwrap();
        assert_eq!(
            text,
            "MSAL|alias=system_assigned_managed_identity#att=1|ep=https://westus.mtlsauth.microsoft.com/72f9"
        );
        assert_eq!(FriendlyName::decode(&text), Some(name));
        assert_eq!(super::alias(Some("1a-2b"), false), "1a-2b#att=0");
    }

    #[test]
    fn values_that_would_break_the_grammar_are_not_written() {
        for (alias, endpoint) in [
            ("a|b", "e"),
            ("a", "e|ep=x"),
            ("a\n", "e\nf"),
            ("a\0b", "e"),
            (" ", "e"),
            ("a", ""),
        ] {
            assert_eq!(
                name(alias, endpoint).encode(),
                None,
                "{alias:?} {endpoint:?}"
            );
        }
    }

    #[test]
    fn what_others_write_is_read_as_they_mean_it() {
        for (text, expected) in [
            ("MSAL|alias=a|ep=e|new=1", Some(name("a", "e"))),
            ("MSAL|ep=e|alias= a=b ", Some(name("a=b", "e"))),
            ("MSAL|alias=a|alias=b|ep=e", Some(name("b", "e"))),
            ("MSAL|alias=a", None),
            ("MSAL|alias= |ep=e", None),
            ("msal|alias=a|ep=e", None),
            ("My certificate", None),
            ("", None),
        ] {
            assert_eq!(FriendlyName::decode(text), expected, "{text}");
        }
    }

    /// `printf A#ATT=1 | sha256sum`.
    #[test]
    fn mutexes_are_named_by_the_upper_case_alias() {
        let expected = MutexName::of_entries("A#ATT=1");
        let name = "MSAL_MI_P_1568011da880672c80716bc26a0227d6";
        assert_eq!(expected, MutexName::Shared(name.to_owned()));
        assert_eq!(MutexName::of_entries("  a#att=1 "), expected);
    }

    #[test]
    fn key_names_are_the_same_in_either_case() {
        assert!(is_same_key_name("KeyGuardRSAKey", "keyguardrsaKEY"));
        assert!(!is_same_key_name("KeyGuardRSAKey", "KeyGuardRSAKey2"));
    }

    #[test]
    fn key_names_are_one_line() {
        assert!(is_key_name("KeyGuardRSAKey") && is_key_name(&"x".repeat(260)));
        for name in ["", " ", "a\nb", "a\0", "a\u{fffd}", &"x".repeat(261)] {
            assert!(!is_key_name(name), "{name:?}");
        }
    }
}
