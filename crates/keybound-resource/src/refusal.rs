use crate::keys::{KeyRefresh, RunningRefresh};
use crate::{Claims, Reason, Schemes};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use std::sync::Arc;

/// A request that is refused: the reason, and the response.
pub struct Refusal {
    reason: Reason,
    parameters: Arc<ChallengeParameters>,
    /// The claims of a claims challenge, a JSON object.
    claims: Option<String>,
    key_refresh: Option<KeyRefresh>,
    running_refresh: Option<RunningRefresh>,
}

/// What all challenges of a verifier have.
#[derive(Debug, Default)]
pub(crate) struct ChallengeParameters {
    pub(crate) schemes: Option<Schemes>,
    pub(crate) authorization_uri: Option<String>,
    pub(crate) resource: Option<String>,
}

impl Refusal {
    pub(crate) fn new(reason: Reason, parameters: &Arc<ChallengeParameters>) -> Self {
        Self {
            reason,
            parameters: Arc::clone(parameters),
            claims: None,
            key_refresh: None,
            running_refresh: None,
        }
    }

    pub(crate) fn with_claims(mut self, claims: &Claims) -> Self {
        self.claims = Some(claims.to_json());
        self
    }

    pub(crate) fn with_key_refresh(
        mut self,
        refresh: Option<KeyRefresh>,
        running: Option<RunningRefresh>,
    ) -> Self {
        self.key_refresh = refresh;
        self.running_refresh = running;
        self
    }

    /// The reason.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The HTTP status of the response.
    pub fn status(&self) -> u16 {
        self.reason.status()
    }

    /// The value of the response's header `WWW-Authenticate`: a challenge for each accepted scheme (RFC 6750 section 3, RFC 8705
    /// section 3). `None` without keys: another token would not help. A claims challenge has the scheme `Bearer`, as MSAL
    /// reads no other.
    pub fn challenge(&self) -> Option<String> {
        if self.reason == Reason::KeysUnavailable {
            return None;
        }
        if self.reason == Reason::InsufficientClaims {
            return Some(self.one_challenge("Bearer"));
        }
        let schemes = self.parameters.schemes.unwrap_or(Schemes::MTLS_POP);
        let challenges = schemes.names().map(|scheme| self.one_challenge(scheme));
        Some(challenges.collect::<Vec<_>>().join(", "))
    }

    /// The seconds of the response's header `Retry-After`, if it has one.
    pub fn retry_after(&self) -> Option<u32> {
        (self.reason == Reason::KeysUnavailable).then_some(RETRY_AFTER)
    }

    /// The refresh of the issuer's keys with which the request may succeed, if it is due: see [`KeyRefresh`]. It is returned to
    /// one caller only.
    #[must_use = "the refresh is cancelled if it is dropped"]
    pub fn take_key_refresh(&mut self) -> Option<KeyRefresh> {
        self.key_refresh.take()
    }

    /// Waits for the end of the refresh of the issuer's keys that runs: the request may succeed afterwards. Returns at once if none
    /// runs. If this refusal has the [refresh](Self::take_key_refresh), it must be running elsewhere.
    pub async fn key_refresh_ended(&mut self) {
        if let Some(running) = &mut self.running_refresh {
            running.ended().await;
        }
    }

    /// The refresh was waited for in vain: see [`RunningRefresh::set_slow`].
    #[cfg(feature = "tokio")]
    pub(crate) fn set_key_refresh_slow(&self) {
        if let Some(running) = &self.running_refresh {
            running.set_slow();
        }
    }

    /// Whether a refresh of the issuer's keys runs.
    pub fn waits_for_keys(&self) -> bool {
        self.running_refresh.is_some()
    }

    fn one_challenge(&self, scheme: &str) -> String {
        let parameters = &*self.parameters;
        let claims = self.claims.as_ref().map(|claims| STANDARD.encode(claims));
        let description = self.reason.error().map(|_| self.reason.description());
        let texts = [
            ("authorization_uri", parameters.authorization_uri.as_deref()),
            ("resource", parameters.resource.as_deref()),
            ("error", self.reason.error()),
            ("error_description", description),
            ("claims", claims.as_deref()),
        ];
        let mut challenge = format!(r#"{scheme} realm="""#);
        for (name, value) in texts {
            if let Some(value) = value {
                challenge += &format!(r#", {name}="{value}""#);
            }
        }
        challenge
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal")
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.reason, f)
    }
}

impl std::error::Error for Refusal {}

/// In seconds.
const RETRY_AFTER: u32 = 5;
