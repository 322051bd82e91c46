use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// The name of a mutex, without `Global\` or `Local\`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MutexName {
    /// A mutex of Keybound: the SID of the account is appended, since keys and certificates belong to the account.
    Account(String),
    /// A mutex that other programs of this account use under exactly this name.
    Shared(String),
}

impl MutexName {
    /// For the replacement of a key.
    pub(crate) fn of_key(container: &str) -> Self {
        Self::Account(hashed("KEYBOUND_KEY_", container))
    }

    /// For the issuance of a certificate for an alias.
    pub(crate) fn of_issuance(alias: &str) -> Self {
        Self::Account(hashed("KEYBOUND_MINT_", alias))
    }

    /// For writes to the entries of an alias. The name is MSAL .NET's.
    pub(crate) fn of_entries(alias: &str) -> Self {
        Self::Shared(hashed("MSAL_MI_P_", alias))
    }
}

/// Names of kernel objects are short and contain no backslash: the first 32 hexadecimal digits of a hash of the upper-case text.
fn hashed(prefix: &str, text: &str) -> String {
    let hash = Sha256::digest(text.trim().to_uppercase());
    let mut name = prefix.to_owned();
    for byte in hash.iter().take(16) {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf A#ATT=1 | sha256sum`.
    #[test]
    fn mutex_names_hash_the_upper_case_alias() {
        let expected = MutexName::of_entries("A#ATT=1");
        let name = "MSAL_MI_P_1568011da880672c80716bc26a0227d6";
        assert_eq!(expected, MutexName::Shared(name.to_owned()));
        assert_eq!(MutexName::of_entries("  a#att=1 "), expected);
    }
}
