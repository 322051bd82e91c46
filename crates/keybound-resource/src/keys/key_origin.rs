use std::fmt;
use std::path::PathBuf;

/// Where the keys of an issuer come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum KeyOrigin {
    /// They do not change.
    Fixed,
    /// A [key file](super::KeyFile), in which the issuer has this name.
    File { path: PathBuf, issuer: String },
    /// The issuer's metadata document, which names the key set.
    Metadata {
        url: String,
        /// The `issuer` that the document must have.
        issuer: String,
    },
}

impl KeyOrigin {
    /// The name of the issuer; empty for fixed keys, which are those of all issuers.
    pub(crate) fn issuer(&self) -> &str {
        match self {
            Self::Fixed => "",
            Self::File { issuer, .. } | Self::Metadata { issuer, .. } => issuer,
        }
    }
}

impl fmt::Display for KeyOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed => f.write_str("all issuers"),
            Self::File { issuer, .. } => f.write_str(issuer),
            Self::Metadata { url, .. } => f.write_str(url),
        }
    }
}
