//! A service of gRPC.
use http::{Request, Response};
use keybound_resource::Caller;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::server::NamedService;
use tower_service::Service;

/// Its responses have the client in a header.
#[derive(Clone)]
pub struct Orders;

impl NamedService for Orders {
    const NAME: &'static str = "orders.Orders";
}

impl Service<Request<Body>> for Orders {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let caller = request.extensions().get::<Arc<Caller>>().unwrap();
        let mut response = Response::new(Body::default());
        let headers = response.headers_mut();
        headers.insert("grpc-status", 0.into());
        headers.insert("caller", caller.client().parse().unwrap());
        std::future::ready(Ok(response))
    }
}
