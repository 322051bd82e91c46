use crate::Binding;
use crate::authorization_header::AuthorizationHeader;
use crate::cache::CachedToken;
use keybound_core::{Error, Scope, SecretString, TokenType, UnverifiedJwt};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// An access token. Cloning is cheap; `Debug` hides the secret.
#[derive(Clone)]
pub struct AccessToken {
    token: Arc<CachedToken>,
    pub(crate) source: TokenSource,
    pub(crate) timings: Vec<StepTiming>,
    pub(crate) renewal_failure: Option<Error>,
}

/// What the token endpoint issued, checked.
pub(crate) struct IssuedToken {
    pub(crate) secret: SecretString,
    pub(crate) token_type: TokenType,
    pub(crate) scope: Scope,
    pub(crate) expires_on: SystemTime,
    /// The same, as the Azure SDK wants it: computed once.
    #[cfg(feature = "azure")]
    pub(crate) expires_on_date: azure_core::time::OffsetDateTime,
    pub(crate) refresh_on: Option<SystemTime>,
    /// How long it is good for, from before it was asked for.
    pub(crate) life: Duration,
    pub(crate) refresh_in: Option<Duration>,
}

impl IssuedToken {
    /// The value of the `Authorization` header.
    pub(crate) fn authorization(&self) -> SecretString {
        format!("{} {}", self.token_type, self.secret.expose()).into()
    }
}

impl AccessToken {
    pub(crate) fn new(
        token: &Arc<CachedToken>,
        source: TokenSource,
        renewal_failure: Option<Error>,
    ) -> Self {
        Self {
            token: Arc::clone(token),
            source,
            timings: Vec::new(),
            renewal_failure,
        }
    }

    pub(crate) fn with_timings(mut self, timings: Vec<StepTiming>) -> Self {
        self.timings = timings;
        self
    }

    pub(crate) fn issued(&self) -> &IssuedToken {
        &self.token.issued
    }

    pub(crate) fn cached(&self) -> &Arc<CachedToken> {
        &self.token
    }

    /// Whether it is the same issued token.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.token, &other.token)
    }

    /// Why the last attempt to renew it ahead failed, if it did. The token itself is valid.
    pub fn renewal_failure(&self) -> Option<&Error> {
        self.renewal_failure.as_ref()
    }

    /// The token itself. For a bound one, use [`bound_client`](Self::bound_client): it attaches the token and presents
    /// the certificate.
    pub fn secret(&self) -> &SecretString {
        &self.issued().secret
    }

    /// Bound or bearer.
    pub fn token_type(&self) -> TokenType {
        self.issued().token_type
    }

    /// What it is for.
    pub fn scope(&self) -> &Scope {
        &self.issued().scope
    }

    /// When it ends.
    pub fn expires_on(&self) -> SystemTime {
        self.issued().expires_on
    }

    /// When the service wants it renewed, where it said so.
    pub fn refresh_on(&self) -> Option<SystemTime> {
        self.issued().refresh_on
    }

    /// The certificate and key that it is bound to; `None` for a bearer token.
    pub fn binding(&self) -> Option<&Arc<Binding>> {
        (self.token_type() == TokenType::MtlsPop).then_some(&self.token.binding.binding)
    }

    /// Where this answer came from.
    pub fn source(&self) -> TokenSource {
        self.source
    }

    /// How long each step took that this answer needed; empty for a cached one.
    pub fn timings(&self) -> &[StepTiming] {
        &self.timings
    }

    /// The readable claims. Nobody has checked the signature: that is for the resource.
    pub fn unverified_claims(&self) -> Option<UnverifiedJwt> {
        UnverifiedJwt::parse(self.secret().expose())
    }

    /// The value of the `Authorization` header: the type, a space, the token.
    pub fn authorization(&self) -> SecretString {
        self.issued().authorization()
    }

    pub(crate) fn header(&self) -> &AuthorizationHeader {
        self.token.header()
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("token_type", &self.token_type())
            .field("scope", self.scope())
            .field("expires_on", &self.expires_on())
            .field("binding", &self.binding())
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// Where a token came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenSource {
    /// The token endpoint, now.
    IdentityProvider,
    /// The client's cache.
    Cache,
}

impl TokenSource {
    /// The word used in results: `identity_provider` or `cache`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IdentityProvider => "identity_provider",
            Self::Cache => "cache",
        }
    }
}

impl fmt::Display for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A step of an acquisition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// IMDS `getplatformmetadata`.
    Metadata,
    /// Opening or making the binding key.
    Key,
    /// Assembling, signing and verifying the certificate signing request.
    Csr,
    /// The attestation of the key.
    Attestation,
    /// IMDS `issuecredential` and the checks on its certificate.
    Credential,
    /// The token request over mutual TLS.
    Token,
    /// The check that the token is bound to the certificate.
    BindingCheck,
}

impl Step {
    /// The word used in results: `metadata`, `key`, `csr`, …
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Key => "key",
            Self::Csr => "csr",
            Self::Attestation => "attestation",
            Self::Credential => "credential",
            Self::Token => "token",
            Self::BindingCheck => "binding_check",
        }
    }
}

/// How long a step took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StepTiming {
    /// The step.
    pub step: Step,
    /// From its start to its end, retries and waits included.
    pub elapsed: Duration,
}
