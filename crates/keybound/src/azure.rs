//! Credentials and a transport for clients of the Azure SDK (feature `azure`).
mod bearer_tokens;
mod bound_calls;
mod client_assertion_credential;
mod conversions;
mod managed_identity_credential;

pub use bound_calls::BoundCalls;
pub use client_assertion_credential::ClientAssertionCredential;
pub use managed_identity_credential::ManagedIdentityCredential;
