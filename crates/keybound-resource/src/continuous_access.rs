use crate::{Caller, Claims};
use std::sync::Arc;

/// A decision for each request of a verified caller, cached or not, for access that is revoked before the token expires (continuous
/// access evaluation).
///
/// It is called on the thread of the request and must not block.
pub trait ContinuousAccess: Send + Sync + 'static {
    /// Decides whether a caller still has access.
    fn decide(&self, caller: &Caller) -> AccessDecision;
}

/// For a value that the owner keeps too, to revoke access by it.
impl<T: ContinuousAccess + ?Sized> ContinuousAccess for Arc<T> {
    fn decide(&self, caller: &Caller) -> AccessDecision {
        (**self).decide(caller)
    }
}

/// Whether a caller still has access.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessDecision {
    /// The caller has access.
    Allow,
    /// The client must get a token with these claims, such as `{"access_token":{"nbf":{"essential":true,"value":"1604106651"}}}`.
    /// A client that does not support claims challenges is refused without them.
    RequireClaims(Claims),
    /// The caller has no access.
    Revoke,
}
