//! Calls of resources, and the types that they are made of: those of the crate `http`, re-exported.
//!
//! A [`ResourceClient`] is made once, from a client and a token request, and kept. For each call it has the token got or
//! renewed, presents the certificate that exactly this token is bound to, and sees to the answers that need no decision:
//! a claims challenge, a binding that the resource could not validate, a redirect within the origin.
//!
//! ```no_run
//! use keybound::http::{ReadJson, ResourceClient};
//! use keybound::{ManagedIdentityClient, KeyRequirements, TokenRequest};
//!
//! # async fn example() -> keybound::Result<()> {
//! #[derive(serde::Deserialize)]
//! struct Secret {
//!     value: String,
//! }
//!
//! let client = ManagedIdentityClient::builder().build()?;
//! let vault = ResourceClient::new(
//!     &client,
//!     TokenRequest::pop("https://vault.azure.net", KeyRequirements::attested()),
//! )?;
//! let answer = vault.get("https://my-vault.vault.azure.net/secrets/db?api-version=7.4").send().await?;
//! if answer.status().is_success() {
//!     let secret: Secret = answer.into_body().json(64 * 1024).await?;
//!     println!("{} characters", secret.value.len());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! It is also a [`tower_service::Service`] for requests with any body, HTTP/1.1 below.
mod authorize;
mod bound_client;
mod exchange;
mod outgoing;
mod read;
mod redirect;
mod refusal;
mod request_builder;
mod resource_client;
mod service;
mod tokens;

pub use ::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header,
};
pub use bound_client::BoundClient;
pub use bytes::Bytes;
pub use keybound_tls::{ConnectionInfo, RequestBody, ResponseBody};
pub use read::ReadJson;
pub use request_builder::{RequestBuilder, RequestTimeout};
pub use resource_client::{ResourceClient, ResourceClientBuilder};

pub(crate) use authorize::{AnnouncedHosts, authorize};
pub(crate) use read::from_json;
pub(crate) use refusal::explained;
#[cfg(feature = "azure")]
pub(crate) use resource_client::without_certificate;
