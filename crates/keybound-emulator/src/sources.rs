//! The sources of bearer tokens for managed identities: IMDS v1, App Service and Container Apps, Service Fabric, Azure Arc,
//! Machine Learning and Cloud Shell. A [`Protocol`] describes the requests and responses of each.
pub(crate) mod app_service;
pub(crate) mod arc;
pub(crate) mod cloud_shell;
pub(crate) mod machine_learning;
mod parameters;
mod problem;
mod protocol;
mod secrets;
pub(crate) mod service_fabric;
mod source;
mod source_token;
#[cfg(test)]
mod tests;

pub(crate) use problem::{Problem, oauth_response};
pub(crate) use protocol::{DefaultIdentity, Protocol, as_number, as_text};
pub(crate) use secrets::SourceSecrets;
pub use source::{Source, UnknownSource};
pub(crate) use source_token::SourceToken;
