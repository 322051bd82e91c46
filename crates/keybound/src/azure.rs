//! Credentials and a transport for clients of the Azure SDK (feature `azure`).
mod bearer_credential;
mod bearer_tokens;
mod bound_calls;
mod conversions;
mod managed_identity_credential;

pub use bearer_credential::BearerCredential;
pub use bound_calls::BoundCalls;
pub use managed_identity_credential::ManagedIdentityCredential;
