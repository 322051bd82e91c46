use crate::{Error, Guid, KeyRequirements};

/// The assertion that a client needs, for [`ClientCredential::callback`](super::ClientCredential::callback).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AssertionRequest {
    /// The tenant of the app registration.
    pub tenant_id: Guid,
    /// The client id of the app registration.
    pub client_id: Guid,
    /// The token endpoint that receives the assertion.
    pub token_endpoint: String,
    /// The audience of the cloud's exchange, such as `api://AzureADTokenExchange`.
    pub audience: String,
    /// The requirements on the key and certificate that the assertion is bound to; `None`: it is not bound.
    pub requirements: Option<KeyRequirements>,
    /// Why the assertion is needed.
    pub reason: AssertionReason,
    /// The claims that are sent with the assertion, as JSON: those of a challenge, and the client capabilities.
    pub claims: Option<String>,
}

/// Why an assertion is needed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AssertionReason {
    /// No token is cached for the request.
    First,
    /// The cached token is due for a refresh, has expired, or is not enough for a challenge.
    Refresh,
    /// The request has [`force_refresh`](crate::TokenRequest::force_refresh).
    Forced,
    /// The request has the claims of a resource's challenge: a new assertion, of a new certificate if it is bound to one, may be
    /// required. The rate is limited, since any resource can send challenges: beyond that, the reason is one of those above, and the
    /// claims are sent nevertheless.
    Challenge,
    /// Entra refused the assertion that was returned before, by this error. The same one is not sent again: the error is then that of
    /// the request, and also if the function fails.
    Refused(Error),
}
