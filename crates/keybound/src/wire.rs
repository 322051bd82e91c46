//! The network, behind a trait that tests implement.
use crate::Binding;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use keybound_transport::{
    ConnectionReuse, HttpsClient, RequestBody, ResponseBody, TransportError, send_plain,
};
use std::fmt;
use std::time::Duration;

/// Sends requests to IMDS, to Entra and to resources.
pub(crate) trait Wire: Send + Sync + fmt::Debug {
    /// Sends a request and returns the response, whose body is read within the same timeout.
    fn send<'a>(
        &'a self,
        request: Request<RequestBody>,
        route: Route<'a>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Response<ResponseBody>, TransportError>>;
}

/// The connection that a request is sent on.
#[derive(Clone, Copy)]
pub(crate) enum Route<'a> {
    /// Plain HTTP.
    Imds,
    /// Mutual TLS with the certificate of this binding.
    Entra(&'a Binding),
    /// TLS with this client, whose connections present the certificate of a token, or none.
    Resource(&'a HttpsClient, ConnectionReuse),
}

/// The network of the host.
#[derive(Debug)]
pub(crate) struct Network;

impl Wire for Network {
    fn send<'a>(
        &'a self,
        request: Request<RequestBody>,
        route: Route<'a>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Response<ResponseBody>, TransportError>> {
        match route {
            Route::Imds => Box::pin(send_plain(request, timeout)),
            Route::Entra(binding) => Box::pin(binding.https().send(request, timeout)),
            Route::Resource(https, reuse) => Box::pin(https.send_with(request, timeout, reuse)),
        }
    }
}
