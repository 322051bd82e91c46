//! Credentials and a transport for clients of the Azure SDK (feature `azure`).
mod bearer_tokens;
mod bound_calls;
mod conversions;
mod credentials;

pub use bound_calls::BoundCalls;
pub use credentials::{ClientAssertionCredential, ManagedIdentityCredential};
