//! Credentials and a transport for clients of the Azure SDK (feature `azure`).
mod bound_calls;
mod conversions;
mod managed_identity_credential;

pub use bound_calls::BoundCalls;
pub use managed_identity_credential::ManagedIdentityCredential;
