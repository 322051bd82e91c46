/// The provider and container of a certificate's key, as in Windows' `CRYPT_KEY_PROV_INFO`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyProvInfo {
    /// The key storage provider.
    pub(crate) provider: String,
    pub(crate) container: String,
    /// Whether it is a key of the machine (`NCRYPT_MACHINE_KEY_FLAG`), not of the account.
    pub(crate) machine: bool,
    /// Whether the provider is one of CryptoAPI, not of CNG.
    pub(crate) legacy: bool,
}

impl KeyProvInfo {
    /// A key of this account in a CNG provider.
    pub(crate) fn cng(provider: &str, container: &str) -> Self {
        Self {
            provider: provider.to_owned(),
            container: container.to_owned(),
            machine: false,
            legacy: false,
        }
    }

    /// Whether both name the same container. Neither provider nor container names are case-sensitive.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.provider.eq_ignore_ascii_case(&other.provider)
            && is_same_container(&self.container, &other.container)
            && self.machine == other.machine
            && self.legacy == other.legacy
    }
}

/// Whether a container can have this name: not blank, one line, at most 260 UTF-16 units. A replacement character shows that the
/// name was not valid Unicode where it was configured.
pub(crate) fn is_container_name(name: &str) -> bool {
    !name.trim().is_empty()
        && !name
            .chars()
            .any(|c| c.is_control() || c == char::REPLACEMENT_CHARACTER)
        && name.encode_utf16().count() <= MAX_CONTAINER_NAME
}

/// Whether two names are the same container's: the software provider names the file of a container by its lower-case name.
pub(crate) fn is_same_container(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

const MAX_CONTAINER_NAME: usize = 260;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_names_are_case_insensitive() {
        assert!(is_same_container("KeyGuardRSAKey", "keyguardrsaKEY"));
        assert!(!is_same_container("KeyGuardRSAKey", "KeyGuardRSAKey2"));
    }

    #[test]
    fn container_names_are_one_bounded_line() {
        assert!(is_container_name("KeyGuardRSAKey") && is_container_name(&"x".repeat(260)));
        for name in ["", " ", "a\nb", "a\0", "a\u{fffd}", &"x".repeat(261)] {
            assert!(!is_container_name(name), "{name:?}");
        }
    }
}
