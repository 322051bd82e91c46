//! For the Azure SDK: credentials and a transport that its clients take (feature `azure`).
mod bearer_credential;
mod bound_calls;
mod conversions;

pub use bearer_credential::BearerCredential;
pub use bound_calls::BoundCalls;

pub(crate) use bearer_credential::date;
