//! The network, which tests replace.
use crate::Binding;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use keybound_transport::{
    ConnectionReuse, HttpsClient, RequestBody, ResponseBody, TransportError, send_plain,
};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Sends requests to IMDS and other sources, to Entra and to resources.
#[derive(Clone, Debug, Default)]
pub(crate) enum Wire {
    /// The network of the host.
    #[default]
    Network,
    /// A simulated network.
    #[cfg_attr(not(test), expect(dead_code, reason = "for tests"))]
    Simulated(Arc<dyn SimulatedNetwork>),
}

/// A network of tests.
pub(crate) trait SimulatedNetwork: Send + Sync + fmt::Debug {
    /// Responds to a request.
    fn send<'a>(
        &'a self,
        request: &'a mut Request<RequestBody>,
        route: Route<'a>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Response<ResponseBody>, TransportError>>;
}

/// The connection that a request is sent on.
#[derive(Clone, Copy)]
pub(crate) enum Route<'a> {
    /// Plain HTTP without a proxy: IMDS and other local sources.
    Plain,
    /// TLS without a proxy to a source.
    Source(&'a HttpsClient),
    /// Mutual TLS with the certificate of this binding.
    Entra(&'a Binding),
    /// TLS without a client certificate to the authority of an app registration.
    Authority(&'a HttpsClient),
    /// TLS with this client, whose connections present the certificate of a token, or none.
    Resource(&'a HttpsClient, ConnectionReuse),
}

impl Wire {
    /// Sends a request and returns the response, whose body is read within the same timeout. The request remains for a retry,
    /// but for a streamed body, which is moved out of it.
    pub(crate) async fn send(
        &self,
        request: &mut Request<RequestBody>,
        route: Route<'_>,
        timeout: Duration,
    ) -> Result<Response<ResponseBody>, TransportError> {
        match (self, route) {
            (Self::Simulated(network), _) => network.send(request, route, timeout).await,
            // Boxed: a future as large as that of a whole exchange is moved several times.
            (Self::Network, Route::Plain) => Box::pin(send_plain(request, timeout)).await,
            (Self::Network, Route::Entra(binding)) => {
                let https = binding.https();
                https
                    .send_with(request, timeout, ConnectionReuse::Allowed)
                    .await
            }
            (Self::Network, Route::Source(https) | Route::Authority(https)) => {
                https
                    .send_with(request, timeout, ConnectionReuse::Allowed)
                    .await
            }
            (Self::Network, Route::Resource(https, reuse)) => {
                https.send_with(request, timeout, reuse).await
            }
        }
    }
}
