use std::fmt;
use std::str::FromStr;

/// The owner of a certificate store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreLocation {
    /// The current user.
    CurrentUser,
    /// The host.
    LocalMachine,
}

/// The location and name of a Windows certificate store, such as `CurrentUser\My`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StorePath {
    location: StoreLocation,
    name: String,
}

impl StorePath {
    /// The store of this location and name. The name is `My` for certificates with keys.
    pub fn new(location: StoreLocation, name: impl Into<String>) -> Self {
        Self {
            location,
            name: name.into(),
        }
    }

    /// `CurrentUser\My`, the store of MSAL.
    pub fn current_user_my() -> Self {
        Self::new(StoreLocation::CurrentUser, "My")
    }

    /// The location.
    pub fn location(&self) -> StoreLocation {
        self.location
    }

    #[cfg(windows)]
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for StorePath {
    type Err = &'static str;

    /// Parses `CurrentUser\My`, `LocalMachine\My` and the like. The location is case-insensitive; `/` is accepted for `\`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rule = "a certificate store is named LOCATION\\NAME, where LOCATION is CurrentUser or LocalMachine";
        let (location, name) = text.split_once(['\\', '/']).ok_or(rule)?;
        let location = match location.to_ascii_lowercase().as_str() {
            "currentuser" => StoreLocation::CurrentUser,
            "localmachine" => StoreLocation::LocalMachine,
            _ => return Err(rule),
        };
        let is_name = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b" -_".contains(&byte));
        is_name.then(|| Self::new(location, name)).ok_or(rule)
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let location = match self.location {
            StoreLocation::CurrentUser => "CurrentUser",
            StoreLocation::LocalMachine => "LocalMachine",
        };
        write!(f, "{location}\\{}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_formats_store_paths() {
        for (text, formatted) in [
            ("CurrentUser\\My", "CurrentUser\\My"),
            ("localmachine/WebHosting", "LocalMachine\\WebHosting"),
        ] {
            let path: StorePath = text.parse().unwrap();
            assert_eq!(path.to_string(), formatted);
        }
        for text in [
            "My",
            "CurrentUser\\",
            "Elsewhere\\My",
            "CurrentUser\\a\\b",
            "CurrentUser\\\0",
        ] {
            assert!(text.parse::<StorePath>().is_err(), "{text:?}");
        }
    }
}
