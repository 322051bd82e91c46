//! What the flow needs of the network, so that tests can be the network.
use crate::Binding;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response, StatusCode};
use keybound_core::MAX_BODY;
use keybound_transport::{
    ConnectionReuse, HttpsClient, PlainClient, RequestBody, ResponseBody, TransportError,
};
use std::fmt;
use std::time::Duration;

/// A whole answer of a service.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The legs of the flow, and the one to resources.
pub(crate) trait Wire: Send + Sync + fmt::Debug {
    /// To IMDS, over plain HTTP.
    fn imds(
        &self,
        request: Request<RequestBody>,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Answer, TransportError>>;

    /// To Entra, over mutual TLS with a certificate.
    fn entra<'a>(
        &'a self,
        binding: &'a Binding,
        request: Request<RequestBody>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Answer, TransportError>>;

    /// To a resource, over the client of a token's certificate or over one without.
    fn resource<'a>(
        &'a self,
        https: &'a HttpsClient,
        request: Request<RequestBody>,
        reuse: ConnectionReuse,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Response<ResponseBody>, TransportError>>;
}

/// The network.
#[derive(Debug, Default)]
pub(crate) struct Network {
    plain: PlainClient,
}

impl Wire for Network {
    fn imds(
        &self,
        request: Request<RequestBody>,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Answer, TransportError>> {
        Box::pin(async move { whole(self.plain.send(request, timeout).await?).await })
    }

    fn entra<'a>(
        &'a self,
        binding: &'a Binding,
        request: Request<RequestBody>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Answer, TransportError>> {
        Box::pin(async move { whole(binding.https().send(request, timeout).await?).await })
    }

    fn resource<'a>(
        &'a self,
        https: &'a HttpsClient,
        request: Request<RequestBody>,
        reuse: ConnectionReuse,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Response<ResponseBody>, TransportError>> {
        Box::pin(https.send_with(request, timeout, reuse))
    }
}

async fn whole(response: Response<ResponseBody>) -> Result<Answer, TransportError> {
    let (head, body) = response.into_parts();
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body: body.collect(MAX_BODY).await?,
    })
}
