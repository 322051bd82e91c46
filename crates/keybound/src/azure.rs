//! For the Azure SDK: credentials and a transport that its clients take (feature `azure`).
mod bound;
mod credential;
mod exchange;

pub use bound::BoundCalls;
pub use credential::BearerCredential;

pub(crate) use credential::date;
