use crate::Caller;

/// A decision for each request of a verified caller, cached or not, for access that is revoked before the token expires (continuous
/// access evaluation).
///
/// It is called on the thread of the request and must not block.
pub trait ContinuousAccess: Send + Sync + 'static {
    /// Decides whether a caller still has access.
    fn decide(&self, caller: &Caller) -> AccessDecision;
}

/// Whether a caller still has access.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessDecision {
    /// The caller has access.
    Allow,
    /// The client must get a token with these claims, a JSON object such as `{"access_token":{"nbf":{"essential":true,"value":"1604106651"}}}`.
    /// A client that does not support claims challenges is refused without them.
    RequireClaims(String),
    /// The caller has no access.
    Revoke,
}
