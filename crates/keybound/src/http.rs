//! Requests to resources. Methods, headers and URIs are those of the crate `http`.
//!
//! A [`ResourceClient`] is created once, from a client and a token request, and reused. For each request it fetches or
//! refreshes the token, presents the certificate that this token is bound to, and handles some responses: claims challenges,
//! failed bindings, redirects within the origin.
//!
//! ```no_run
//! use keybound::{KeyRequirements, ManagedIdentityClient};
//!
//! # async fn example() -> keybound::Result<()> {
//! #[derive(serde::Deserialize)]
//! struct Secret {
//!     value: String,
//! }
//!
//! let client = ManagedIdentityClient::new()?;
//! let vault = client.resource("https://vault.azure.net", KeyRequirements::attested()).build()?;
//! let response = vault.get("https://my-vault.vault.azure.net/secrets/db?api-version=7.4").send().await?;
//! println!("token from: {}", response.token().source());
//! let secret: Secret = response.error_for_status().await?.json().await?;
//! println!("{} characters", secret.value.len());
//! # Ok(())
//! # }
//! ```
//!
//! It is also a [`tower_service::Service`] for requests with any body, over HTTP/1.1.
mod bound_calls;
mod bound_client;
mod caller_token;
mod error_response;
mod redirect;
mod replayable_request;
mod request_builder;
mod resource_call;
mod resource_client;
mod resource_tokens;
mod response;
mod response_body;
mod token_bound_auth;

pub use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
pub use bound_calls::BoundCalls;
pub use bound_client::BoundClient;
pub use bytes::Bytes;
pub use keybound_transport::{ConnectionInfo, RequestBody};
pub use request_builder::{RequestBuilder, RequestTimeout};
pub use resource_client::{ResourceClient, ResourceClientBuilder};
pub use response::Response;
pub use response_body::ResponseBody;

use bound_client::with_connection_info;
use error_response::missing_client_cert;
use resource_client::client_without_certificate;
pub(crate) use response_body::{DEFAULT_LIMIT, from_json};
use std::time::Duration;
use token_bound_auth::{TokenBoundAuthHosts, authorize};

pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
