use std::fmt;

/// The step of the flow at which an error occurred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// The request itself; nothing was sent.
    Request,
    /// IMDS `getplatformmetadata`.
    Metadata,
    /// The binding key.
    Key,
    /// The attestation of the key.
    Attestation,
    /// IMDS `issuecredential` and the issued certificate.
    Credential,
    /// Entra's token endpoint and the access token.
    Token,
    /// The source of the host that issues a plain bearer token, and that token.
    Source,
    /// The assertion of an app registration: the file or function that it is from, and its contents.
    Assertion,
    /// The exchange of an assertion for a token of an app registration, and that token.
    Exchange,
    /// The request to the resource.
    Resource,
}

impl Stage {
    /// The name in results: `metadata`, `key`, …
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Metadata => "metadata",
            Self::Key => "key",
            Self::Attestation => "attestation",
            Self::Credential => "credential",
            Self::Token => "token",
            Self::Source => "source",
            Self::Assertion => "assertion",
            Self::Exchange => "exchange",
            Self::Resource => "resource",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
