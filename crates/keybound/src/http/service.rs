use super::{ResourceClient, ResponseBody};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body::Body;
use keybound_core::{BoxError, Error};
use std::task::{Context, Poll};
use tower_service::Service;

/// As [`send`](ResourceClient::send), behind layers of tower. It is always ready. The response is that of
/// [`Response::into_http`](super::Response::into_http).
impl<B> Service<Request<B>> for ResourceClient
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Self::Response, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let client = self.clone();
        Box::pin(async move { Ok(client.send(request).await?.into_http()) })
    }
}
