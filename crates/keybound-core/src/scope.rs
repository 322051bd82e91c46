use crate::{Error, MAX_TEXT, Result};
use std::fmt;
use std::sync::Arc;

/// The scope of a token request: `<resource>/.default`. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope(Arc<str>);

impl Scope {
    /// Creates the scope of a resource (`https://vault.azure.net`, an application id URI or a GUID). Trailing slashes of
    /// the resource are removed and `/.default` is added unless present (docs/protocol.md: token request).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) if the resource is empty, longer than 2048
    /// bytes, or contains anything but visible ASCII characters (a request is for one resource).
    pub fn for_resource(resource: &str) -> Result<Self> {
        let bare = bare(resource);
        if bare.is_empty()
            || bare.len() > MAX_TEXT
            || !bare.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err(Error::invalid_request(
                "a resource is one URI or GUID without spaces, such as https://vault.azure.net",
            ));
        }
        if resource.strip_prefix(bare) == Some(DEFAULT) {
            return Ok(Self(resource.into()));
        }
        Ok(Self(format!("{bare}{DEFAULT}").into()))
    }

    /// Creates the scope of a resource that is sent as it is, to a source without `/.default`: one `/.default` is removed, a trailing slash is kept,
    /// since the resource becomes the token's audience, and some services compare it exactly.
    ///
    /// # Errors
    /// Those of [`for_resource`](Self::for_resource).
    pub fn verbatim(resource: &str) -> Result<Self> {
        Self::for_resource(resource)?;
        let resource = resource.strip_suffix(DEFAULT).unwrap_or(resource);
        if resource.len() > MAX_TEXT {
            return Err(Error::invalid_request(
                "a resource is longer than 2048 bytes",
            ));
        }
        Ok(Self(format!("{resource}{DEFAULT}").into()))
    }

    /// The scope, ending with `/.default`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The resource, without `/.default`.
    pub fn resource(&self) -> &str {
        self.0.strip_suffix(DEFAULT).unwrap_or(&self.0)
    }
}

fn bare(mut resource: &str) -> &str {
    loop {
        resource = resource.trim_end_matches('/');
        match resource.strip_suffix(DEFAULT) {
            Some(shorter) => resource = shorter,
            None => return resource,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const DEFAULT: &str = "/.default";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appends_default_once() {
        for (resource, scope) in [
            (
                "https://vault.azure.net",
                "https://vault.azure.net/.default",
            ),
            (
                "https://vault.azure.net/",
                "https://vault.azure.net/.default",
            ),
            (
                "https://vault.azure.net/.default",
                "https://vault.azure.net/.default",
            ),
            ("api://0a0a", "api://0a0a/.default"),
            ("https://a//", "https://a/.default"),
            ("https://a//.default", "https://a/.default"),
            ("https://a/.default/", "https://a/.default"),
            ("https://a/.default/.default", "https://a/.default"),
            ("https://a.default", "https://a.default/.default"),
        ] {
            let parsed = Scope::for_resource(resource).unwrap();
            assert_eq!(parsed.as_str(), scope);
            assert_eq!(Scope::for_resource(parsed.as_str()).unwrap(), parsed);
            assert_eq!(Scope::for_resource(parsed.resource()).unwrap(), parsed);
        }
        assert_eq!(
            Scope::for_resource("https://a/").unwrap().resource(),
            "https://a"
        );
    }

    #[test]
    fn verbatim_keeps_trailing_slashes() {
        for (resource, sent) in [
            ("https://vault.azure.net", "https://vault.azure.net"),
            (
                "https://vault.azure.net/.default",
                "https://vault.azure.net",
            ),
            (
                "https://database.windows.net/",
                "https://database.windows.net/",
            ),
            (
                "https://database.windows.net//.default",
                "https://database.windows.net/",
            ),
            ("api://0a0a", "api://0a0a"),
        ] {
            let scope = Scope::verbatim(resource).unwrap();
            assert_eq!(scope.resource(), sent);
            assert_eq!(Scope::verbatim(scope.as_str()).unwrap(), scope);
        }
        for resource in ["", "/", "/.default", "https://a https://b", "https://a\n"] {
            assert!(Scope::verbatim(resource).is_err(), "{resource:?}");
        }
        assert!(Scope::verbatim(&"x".repeat(MAX_TEXT + 1)).is_err());
        assert!(Scope::verbatim(&format!("x{}", "/".repeat(MAX_TEXT))).is_err());
    }

    #[test]
    fn rejects_several_empty_and_unprintable_resources() {
        for resource in [
            "",
            "/",
            "/.default",
            "https://a https://b",
            "https://a\r\n",
            "\u{7f}",
            "https://\u{202e}a",
            "//.default//",
        ] {
            assert!(Scope::for_resource(resource).is_err(), "{resource:?}");
        }
    }

    #[test]
    fn bounded_input() {
        assert!(Scope::for_resource(&"x".repeat(MAX_TEXT)).is_ok());
        assert!(Scope::for_resource(&"x".repeat(MAX_TEXT + 1)).is_err());
    }
}
