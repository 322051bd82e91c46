//! All policies of the attack table in one server.
use crate::support::{TestClock, builder};
use http::{HeaderValue, Request, Response};
use keybound_resource::Reason;
use keybound_resource::source::ConnectionPeer;
use keybound_resource::tower::MtlsPopLayer;
use keybound_testing::attacks::cases;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower_layer::Layer;
use tower_service::Service;

/// Verifies each request with the policy and the time of its case, whose number is in a header. Adds the reason to refusals.
#[derive(Clone)]
pub struct LayerOfCase(Arc<[MtlsPopLayer<ConnectionPeer>]>);

impl LayerOfCase {
    pub fn new(grpc: bool) -> Self {
        let layers = cases().into_iter().map(|case| {
            let clock = TestClock::new();
            let verifier = builder(&case.policy(), &clock).build().unwrap();
            clock.set_later(case.seconds_later);
            let layer = MtlsPopLayer::new(verifier, ConnectionPeer::new());
            if grpc { layer.grpc() } else { layer }
        });
        Self(layers.collect())
    }
}

impl<S> Layer<S> for LayerOfCase {
    type Service = ServiceOfCase<S>;

    fn layer(&self, inner: S) -> ServiceOfCase<S> {
        ServiceOfCase {
            layers: self.clone(),
            inner,
        }
    }
}

#[derive(Clone)]
pub struct ServiceOfCase<S> {
    layers: LayerOfCase,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for ServiceOfCase<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: Default + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let case: usize = request.headers()[CASE].to_str().unwrap().parse().unwrap();
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        let mut service = self.layers.0[case].layer(inner);
        let response = service.call(request);
        Box::pin(async move {
            let mut response = response.await?;
            if let Some(reason) = response.extensions().get::<Reason>() {
                let code = HeaderValue::from_static(reason.code());
                response.headers_mut().insert(REASON, code);
            }
            Ok(response)
        })
    }
}

/// The request header with the number of the case.
pub const CASE: &str = "x-case";
/// The response header with the reason.
pub const REASON: &str = "x-reason";
