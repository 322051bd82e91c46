//! For the Azure SDK: credentials that its clients take (feature `azure`).
mod credential;

pub use credential::BearerCredential;

pub(crate) use credential::date;
