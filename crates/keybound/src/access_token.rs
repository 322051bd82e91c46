use crate::Binding;
use crate::authorization_header::AuthorizationHeader;
use crate::cache::CachedToken;
use crate::cache::DualTime;
use crate::step::StepTiming;
#[cfg(feature = "azure")]
use azure_core::time::OffsetDateTime;
use keybound_core::{
    Error, ManagedIdentitySource, Result, Scope, SecretString, Stage, TokenType, UnverifiedJwt,
};
use std::fmt;
use std::sync::Arc;
#[cfg(feature = "azure")]
use std::time::UNIX_EPOCH;
use std::time::{Duration, SystemTime};

/// An access token. Cloning is cheap; `Debug` hides the secret.
#[derive(Clone)]
pub struct AccessToken {
    token: Arc<CachedToken>,
    pub(crate) source: TokenSource,
    pub(crate) timings: Vec<StepTiming>,
    pub(crate) refresh_failure: Option<Error>,
}

/// A token that was issued, validated.
pub(crate) struct IssuedToken {
    pub(crate) secret: SecretString,
    pub(crate) token_type: TokenType,
    pub(crate) scope: Scope,
    /// `None`: for an app registration.
    pub(crate) source: Option<ManagedIdentitySource>,
    pub(crate) expires_on: SystemTime,
    /// The same in the Azure SDK's type: converted once.
    #[cfg(feature = "azure")]
    pub(crate) expires_on_date: OffsetDateTime,
    pub(crate) refresh_on: Option<SystemTime>,
    /// Its lifetime, from before the request.
    pub(crate) life: Duration,
    pub(crate) refresh_in: Option<Duration>,
}

/// A token in a response: what an [`IssuedToken`] is made of.
pub(crate) struct ReceivedToken {
    pub(crate) secret: SecretString,
    pub(crate) token_type: TokenType,
    pub(crate) scope: Scope,
    pub(crate) source: Option<ManagedIdentitySource>,
    pub(crate) life: Duration,
    pub(crate) refresh_in: Option<Duration>,
}

impl IssuedToken {
    /// A token that was requested at `requested`.
    pub(crate) fn new(received: ReceivedToken, requested: DualTime, stage: Stage) -> Result<Self> {
        let later = |duration| {
            requested.wall.checked_add(duration).ok_or_else(|| {
                Error::invalid_response(stage, "the lifetime of the token is out of range")
            })
        };
        let expires_on = later(received.life)?;
        Ok(Self {
            expires_on,
            #[cfg(feature = "azure")]
            expires_on_date: sdk_date(expires_on),
            refresh_on: received.refresh_in.map(later).transpose()?,
            life: received.life,
            refresh_in: received.refresh_in,
            token_type: received.token_type,
            scope: received.scope,
            source: received.source,
            secret: received.secret,
        })
    }

    /// The value of the `Authorization` header.
    pub(crate) fn authorization(&self) -> SecretString {
        format!("{} {}", self.token_type, self.secret.expose()).into()
    }
}

/// Converts a time to the type of the Azure SDK, which ends with the year 9999.
#[cfg(feature = "azure")]
fn sdk_date(time: SystemTime) -> OffsetDateTime {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let seconds = i64::try_from(seconds).unwrap_or(LAST_DATE).min(LAST_DATE);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// The last second of the year 9999.
#[cfg(feature = "azure")]
const LAST_DATE: i64 = 253_402_300_799;

impl AccessToken {
    #[inline]
    pub(crate) fn new(
        token: Arc<CachedToken>,
        source: TokenSource,
        refresh_failure: Option<Error>,
    ) -> Self {
        Self {
            token,
            source,
            timings: Vec::new(),
            refresh_failure,
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

    /// Whether both are the same issued token.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.token, &other.token)
    }

    /// The error of the last refresh, if it failed. The token itself is valid.
    pub fn refresh_failure(&self) -> Option<&Error> {
        self.refresh_failure.as_ref()
    }

    /// The token itself. To send a bound token, use [`bound_client`](Self::bound_client), which presents the certificate.
    pub fn secret(&self) -> &SecretString {
        &self.issued().secret
    }

    /// The type: bound or bearer.
    pub fn token_type(&self) -> TokenType {
        self.issued().token_type
    }

    /// The scope that it was issued for.
    pub fn scope(&self) -> &Scope {
        &self.issued().scope
    }

    /// The time at which it expires.
    pub fn expires_on(&self) -> SystemTime {
        self.issued().expires_on
    }

    /// The time at which the service wants it refreshed, if the response had one.
    pub fn refresh_on(&self) -> Option<SystemTime> {
        self.issued().refresh_on
    }

    /// The certificate and key that it is bound to; `None` for a bearer token.
    pub fn binding(&self) -> Option<&Arc<Binding>> {
        let requested_with = self.token.binding.as_ref();
        requested_with
            .filter(|_| self.token_type() == TokenType::MtlsPop)
            .map(|cached| &cached.binding)
    }

    /// The managed identity source whose identity it is for: IMDS for tokens that are requested over mutual TLS. `None` for a token of
    /// an app registration.
    pub fn managed_identity_source(&self) -> Option<ManagedIdentitySource> {
        self.issued().source
    }

    /// The origin of this token: the cache or a new response.
    pub fn source(&self) -> TokenSource {
        self.source
    }

    /// The durations of the steps of the acquisition; empty for a cached token.
    pub fn timings(&self) -> &[StepTiming] {
        &self.timings
    }

    /// The claims, if the token is a JWT. The signature is not verified: the resource does that.
    pub fn unverified_claims(&self) -> Option<UnverifiedJwt> {
        UnverifiedJwt::parse(self.secret().expose())
    }

    /// The value of the `Authorization` header: the token type, a space, the token.
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
            .field("managed_identity_source", &self.managed_identity_source())
            .finish_non_exhaustive()
    }
}

/// The source of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenSource {
    /// Entra's token endpoint, or the source of the host that issues plain bearer tokens.
    IdentityProvider,
    /// The client's cache.
    Cache,
}

impl TokenSource {
    /// The name in results: `identity_provider` or `cache`.
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

#[cfg(all(test, feature = "azure"))]
mod tests {
    use super::*;

    #[test]
    fn limits_dates_to_the_year_9999() {
        let at = |seconds| sdk_date(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(1_700_000_000).unix_timestamp(), 1_700_000_000);
        assert_eq!(at(300_000_000_000).unix_timestamp(), LAST_DATE);
    }
}
