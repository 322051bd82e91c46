/// Why a verifier cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// No audience.
    #[error("a verifier needs the audience of its resource")]
    NoAudience,
    /// A list that was given is empty. A list from a template or a filter must not become a rule that everybody meets.
    #[error("the list of {setting} is empty")]
    EmptyList {
        /// What it lists, such as `clients`.
        setting: &'static str,
    },
    /// A text is empty, or has only spaces.
    #[error("an empty text is among the {setting}")]
    EmptyText {
        /// What has it, such as `clients`.
        setting: &'static str,
    },
    /// Neither tenants nor any tenant, or both.
    #[error("a verifier needs either a list of tenants or any tenant")]
    Tenants,
    /// Users are both accepted, possibly by scopes that they must have, and refused.
    #[error(
        "users, or the scopes that they must have, are accepted, and other settings refuse users"
    )]
    Users,
    /// The name of an issuer, or of its keys, has `{tenantid}` more than once.
    #[error("the name {name} of an issuer has {{tenantid}} more than once")]
    IssuerName {
        /// The name.
        name: String,
    },
    /// An issuer whose name has no `{tenantid}`, without a tenant or with one that is not accepted.
    #[error(
        "the issuer {issuer}, whose name has no {{tenantid}}, needs its tenant, which must be accepted"
    )]
    IssuerTenant {
        /// Its name.
        issuer: String,
    },
    /// The metadata of an issuer whose keys are discovered has no `https` URL, or one with user information. The URL is not repeated: it can
    /// contain a password.
    #[error("the metadata of the issuer {issuer} is not an https URL without user information")]
    IssuerMetadata {
        /// Its name.
        issuer: String,
    },
    /// No keys.
    #[error("a verifier needs the issuers' keys")]
    NoKeys,
    /// A text of the challenge contains a character that a quoted string cannot have.
    #[error(
        "the text {text:?} of the challenge is not printable ASCII without quotes and backslashes"
    )]
    ChallengeText {
        /// The text.
        text: String,
    },
    /// The trusted issuers of certificates are not certificates in PEM.
    #[error("the trusted issuers of certificates are not certificates in PEM")]
    TrustedIssuers {
        /// The error of OpenSSL, or that there is no certificate.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The clock skew is longer than an hour.
    #[error("the clock skew is longer than an hour")]
    Skew,
    /// The memory for cached tokens is more than 64 GiB.
    #[error("the memory for cached tokens is more than 64 GiB")]
    CacheBytes,
}
