//! A layer of tower that verifies each request, for axum, hyper and tonic.
use crate::source::CertificateSource;
use crate::{Authorization, Caller, Reason, Refusal, Verifier};
use http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Request, Response, StatusCode};
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower_layer::Layer;
use tower_service::Service;

/// Verifies the bound token of each request, before the service below gets it.
///
/// The service gets requests with a [`Caller`] in their extensions, as `Arc<Caller>`. All others are refused with an empty
/// response, which has the [`Reason`] in its extensions. The token's header remains, marked as sensitive.
#[derive(Clone, Debug)]
pub struct MtlsPopLayer<C> {
    verifier: Verifier,
    source: C,
    protocol: Protocol,
}

/// The form of a refusal.
#[derive(Clone, Copy, Debug)]
enum Protocol {
    Http,
    Grpc,
}

impl<C: CertificateSource> MtlsPopLayer<C> {
    /// A layer that gets client certificates from one source.
    pub fn new(verifier: Verifier, source: C) -> Self {
        Self {
            verifier,
            source,
            protocol: Protocol::Http,
        }
    }

    /// Refuses requests as gRPC does: `UNAUTHENTICATED`, `PERMISSION_DENIED` or `UNAVAILABLE` in the header, with status 200.
    #[must_use]
    pub fn grpc(mut self) -> Self {
        self.protocol = Protocol::Grpc;
        self
    }

    async fn verify(&self, parts: &http::request::Parts) -> Result<Arc<Caller>, Refusal> {
        let certificate = self.source.certificate(&parts.headers, &parts.extensions);
        let values = parts.headers.get_all(AUTHORIZATION);
        let authorization = Authorization::from_values(values.iter().map(HeaderValue::as_bytes));
        self.verifier
            .authenticate(authorization, &certificate)
            .await
    }
}

impl<C: CertificateSource, S> Layer<S> for MtlsPopLayer<C> {
    type Service = MtlsPop<C, S>;

    fn layer(&self, inner: S) -> MtlsPop<C, S> {
        MtlsPop {
            layer: Arc::new(self.clone()),
            inner,
        }
    }
}

/// The service of a [`MtlsPopLayer`]. It is always ready: the service below is asked when a request was verified, so that a refused one
/// takes none of its places while it waits for keys. So requests that were verified wait here when the service below is not ready, without
/// a limit, and a layer outside of this one, such as `load_shed`, does not see that: put it below this layer.
#[derive(Clone)]
pub struct MtlsPop<C, S> {
    /// Each request has a copy.
    layer: Arc<MtlsPopLayer<C>>,
    inner: S,
}

impl<C, S, B, R> Service<Request<B>> for MtlsPop<C, S>
where
    C: CertificateSource,
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut inner = self.inner.clone();
        let layer = Arc::clone(&self.layer);
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            match layer.verify(&parts).await {
                Ok(caller) => {
                    hide_token(&mut parts.headers);
                    parts.extensions.insert(caller);
                    parts
                        .extensions
                        .insert(layer.verifier.challenge_parameters());
                    poll_fn(|context| inner.poll_ready(context)).await?;
                    inner.call(Request::from_parts(parts, body)).await
                }
                Err(refusal) => {
                    tracing::debug!(reason = refusal.reason().code(), "refused a request");
                    Ok(match layer.protocol {
                        Protocol::Http => http_response(&refusal),
                        Protocol::Grpc => grpc_response(&refusal),
                    })
                }
            }
        })
    }
}

impl<C: fmt::Debug, S> fmt::Debug for MtlsPop<C, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MtlsPop")
            .field("layer", &self.layer)
            .finish_non_exhaustive()
    }
}

/// The response to a refused request, with an empty body.
pub fn http_response<R: Default>(refusal: &Refusal) -> Response<R> {
    let mut response = refused(refusal);
    // All statuses of the reasons are valid.
    let status = StatusCode::from_u16(refusal.status());
    *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(seconds) = refusal.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// The response to a refused request of gRPC: headers only.
pub fn grpc_response<R: Default>(refusal: &Refusal) -> Response<R> {
    let mut response = refused(refusal);
    let headers = response.headers_mut();
    let message = refusal.reason().description();
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", grpc_code(refusal).into());
    headers.insert("grpc-message", HeaderValue::from_static(message));
    response
}

/// The status of gRPC for a refusal: PERMISSION_DENIED, UNAVAILABLE or UNAUTHENTICATED.
pub(crate) fn grpc_code(refusal: &Refusal) -> u16 {
    match refusal.status() {
        403 => 7,
        503 => 14,
        _ => 16,
    }
}

fn refused<R: Default>(refusal: &Refusal) -> Response<R> {
    let mut response = Response::new(R::default());
    response.extensions_mut().insert::<Reason>(refusal.reason());
    // A challenge is printable ASCII.
    if let Some(challenge) = refusal.challenge()
        && let Ok(challenge) = HeaderValue::from_str(&challenge)
    {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

/// Services log headers.
fn hide_token(headers: &mut http::HeaderMap) {
    if let Some(value) = headers.get_mut(AUTHORIZATION) {
        value.set_sensitive(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::ConnectionPeer;
    use crate::{FetchError, FetchFuture, Guid, KeyFetcher, Keys};
    use std::convert::Infallible;
    use std::future::Pending;

    #[tokio::test]
    async fn refused_request_takes_no_place_of_the_service() {
        let tenant = Guid::parse("72f988bf-86f1-41af-91ab-2d7cd011db47").unwrap();
        let verifier = Verifier::builder().audience("api://orders").tenant(tenant);
        let verifier = verifier.keys(Keys::discovered(NoKeys)).build().unwrap();
        let layer = MtlsPopLayer::new(verifier, ConnectionPeer::new());
        let mut service = layer.layer(Full);
        poll_fn(|context| {
            assert!(service.poll_ready(context).is_ready());
            Poll::Ready(())
        })
        .await;
        let response = service.call(Request::new(())).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }

    /// A service without a free place.
    #[derive(Clone)]
    struct Full;

    impl Service<Request<()>> for Full {
        type Response = Response<()>;
        type Error = Infallible;
        type Future = Pending<Result<Response<()>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Pending
        }

        fn call(&mut self, _: Request<()>) -> Self::Future {
            std::future::pending()
        }
    }

    struct NoKeys;

    impl KeyFetcher for NoKeys {
        fn fetch<'a>(&'a self, _: &'a str) -> FetchFuture<'a> {
            Box::pin(async { Err(FetchError::new("none")) })
        }
    }
}
