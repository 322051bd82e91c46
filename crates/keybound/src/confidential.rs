//! App registrations whose credential is an assertion (federated credentials): tokens of a managed identity, of another issuer in
//! a file, or from the caller.
//!
//! A [`ConfidentialClient`] acquires tokens in two legs. The first leg is the assertion: for
//! [`ClientCredential::managed_identity`] a token of the managed identity for the exchange audience. In the second leg Entra
//! exchanges the assertion for a token of the app registration. Each leg has its own cache, refreshes and retries.
//!
//! | request | assertion | token |
//! |---|---|---|
//! | [`TokenRequest::pop`](crate::TokenRequest::pop) | bound to the certificate | bound to the same certificate |
//! | [`TokenRequest::bearer_over_mtls`](crate::TokenRequest::bearer_over_mtls) | bound to the certificate | bearer |
//! | [`TokenRequest::bearer`](crate::TokenRequest::bearer) | bearer | bearer |
//!
//! ```no_run
//! use keybound::confidential::ClientCredential;
//! use keybound::{ConfidentialClient, KeyRequirements, ManagedIdentityClient};
//!
//! # async fn example() -> keybound::Result<()> {
//! let identity = ManagedIdentityClient::new()?;
//! let app = ConfidentialClient::builder(
//!     "22222222-2222-2222-2222-222222222222", // tenant
//!     "33333333-3333-3333-3333-333333333333", // client id of the app registration
//!     ClientCredential::managed_identity(&identity),
//! )
//! .build()?;
//! let token = app.pop_token("https://vault.azure.net", KeyRequirements::attested()).await?;
//! # drop(token);
//! # Ok(())
//! # }
//! ```
mod app;
mod assertion_request;
mod builder;
mod client;
mod client_assertion;
mod client_credential;
mod token_file;

pub use crate::token_client::TokenClient;
pub use assertion_request::{AssertionReason, AssertionRequest};
pub use builder::ConfidentialClientBuilder;
pub use client::ConfidentialClient;
pub use client_assertion::ClientAssertion;
pub use client_credential::ClientCredential;
pub use keybound_core::Cloud;

pub(crate) use app::{App, AppKey, check_receiver};
pub(crate) use client_credential::{Callback, Credential};
pub(crate) use token_file::read as read_token_file;
