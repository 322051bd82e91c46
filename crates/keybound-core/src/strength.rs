use std::fmt;
use std::str::FromStr;

/// How well a binding key is protected, weakest first. As a minimum it does not select the key: the strongest key of the
/// host is always used, and one below the minimum is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum KeyStrength {
    /// In the memory of the process, or a software key container.
    Software,
    /// In hardware: a TPM.
    Hardware,
    /// Isolated by virtualization-based security (Windows KeyGuard).
    KeyGuard,
}

impl KeyStrength {
    /// The name in options and results: `software`, `hardware` or `keyguard`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Software => "software",
            Self::Hardware => "hardware",
            Self::KeyGuard => "keyguard",
        }
    }
}

impl fmt::Display for KeyStrength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KeyStrength {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Software, Self::Hardware, Self::KeyGuard]
            .into_iter()
            .find(|strength| strength.as_str() == text)
            .ok_or("expected software, hardware or keyguard")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_and_parses_strengths() {
        assert!(KeyStrength::Software < KeyStrength::Hardware);
        assert!(KeyStrength::Hardware < KeyStrength::KeyGuard);
        assert_eq!("keyguard".parse(), Ok(KeyStrength::KeyGuard));
        assert!("KeyGuard ".parse::<KeyStrength>().is_err());
    }
}
