use crate::{RequestBody, ResponseBody, TransportError};
use std::time::Duration;

/// A plain HTTP/1.1 client for link-local and loopback services: never through a proxy, never redirected.
#[derive(Clone, Debug)]
pub struct PlainClient(());

impl PlainClient {
    /// A client without connections yet.
    pub fn new() -> Self {
        Self(())
    }

    /// Sends a request with an absolute http URI. See [`HttpsClient::send`](crate::HttpsClient::send) for the rest.
    ///
    /// # Errors
    /// See [`TransportErrorKind`](crate::TransportErrorKind).
    pub async fn send(
        &self,
        request: http::Request<RequestBody>,
        timeout: Duration,
    ) -> Result<http::Response<ResponseBody>, TransportError> {
        let _ = (request, timeout);
        todo!()
    }
}

impl Default for PlainClient {
    fn default() -> Self {
        Self::new()
    }
}
