//! Credentials and a transport for clients of the Azure SDK (feature `azure`).
mod bearer_credential;
mod bound_calls;
mod conversions;

pub use bearer_credential::BearerCredential;
pub use bound_calls::BoundCalls;
