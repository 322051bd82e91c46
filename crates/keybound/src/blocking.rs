//! Blocking clients, for programs without an async runtime.
//!
//! Each client has one thread that runs its I/O, from the first call that needs it until its last clone is dropped. Calls block the calling
//! thread: do not use them in async code.
mod confidential_client;
mod managed_identity_client;
mod request_builder;
mod resource_client;
mod response;
mod response_body;
mod upload;
mod worker;

pub use confidential_client::ConfidentialClient;
pub use managed_identity_client::ManagedIdentityClient;
pub use request_builder::RequestBuilder;
pub use resource_client::ResourceClient;
pub use response::Response;
pub use response_body::ResponseBody;

use crate::acquire::ClientContext;
use crate::{AccessToken, Result, Stage, TokenRequest};
use std::sync::Arc;
use worker::Worker;

/// The methods that the clients of both kinds have, beside `new`.
macro_rules! token_methods {
    () => {
        /// Acquires a token, as the async client does. A cached token is returned by the calling thread, without waiting for the
        /// client's thread.
        ///
        /// # Errors
        /// Those of the async client, and [`ErrorKind::HostUnsupported`](crate::ErrorKind::HostUnsupported) if no thread can be
        /// started.
        pub fn acquire_token(
            &self,
            request: &$crate::TokenRequest,
        ) -> $crate::Result<$crate::AccessToken> {
            $crate::blocking::acquire_token(self.client.context(), &self.worker, request)
        }

        /// The token that [`acquire_token`](Self::acquire_token) would return without waiting. One that is due for a refresh is
        /// refreshed in the background, on the client's thread.
        pub fn cached_token(&self, request: &$crate::TokenRequest) -> Option<$crate::AccessToken> {
            let context = self.client.context();
            context.cached_token_on(request, || self.worker.handle())
        }

        /// Acquires a token that is bound to the certificate: [`acquire_token`](Self::acquire_token) with
        /// [`TokenRequest::pop`](crate::TokenRequest::pop).
        ///
        /// # Errors
        /// Those of [`acquire_token`](Self::acquire_token).
        pub fn pop_token(
            &self,
            resource: impl AsRef<str>,
            requirements: $crate::KeyRequirements,
        ) -> $crate::Result<$crate::AccessToken> {
            self.acquire_token(&$crate::TokenRequest::pop(resource, requirements))
        }

        /// Acquires a plain bearer token, without a certificate: [`acquire_token`](Self::acquire_token) with
        /// [`TokenRequest::bearer`](crate::TokenRequest::bearer).
        ///
        /// # Errors
        /// Those of [`acquire_token`](Self::acquire_token).
        pub fn bearer_token(
            &self,
            resource: impl AsRef<str>,
        ) -> $crate::Result<$crate::AccessToken> {
            self.acquire_token(&$crate::TokenRequest::bearer(resource))
        }

        /// A client that calls resources with tokens of this request, on the same thread. See
        /// [`http::ResourceClient`](crate::http::ResourceClient).
        ///
        /// # Errors
        /// Those of [`ResourceClientBuilder::build`](crate::http::ResourceClientBuilder::build).
        pub fn resource_client(
            &self,
            request: $crate::TokenRequest,
        ) -> $crate::Result<$crate::blocking::ResourceClient> {
            let client = $crate::http::ResourceClient::new(&self.client, request)?;
            let worker = std::sync::Arc::clone(&self.worker);
            Ok($crate::blocking::ResourceClient::with_worker(
                client, worker,
            ))
        }
    };
}

use token_methods;

/// Returns the cached token, or acquires one on the thread.
fn acquire_token(
    client: &Arc<ClientContext>,
    worker: &Worker,
    request: &TokenRequest,
) -> Result<AccessToken> {
    if let Some(token) = client.cached_token_on(request, || worker.handle()) {
        return Ok(token);
    }
    let (client, request) = (Arc::clone(client), request.clone());
    worker.run(Stage::Request, async move {
        client.acquire_token(&request).await
    })
}
