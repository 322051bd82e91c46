use crate::connection_info::ConnectionUse;
use crate::exchange::{deadline, send_on_new, timed_out};
use crate::prepare_request::prepare_request;
use crate::route::Route;
use crate::runtime_thread::RuntimeHandle;
use crate::{RequestBody, ResponseBody, TransportError};
use http::uri::Scheme;
use http::{Request, Response};
use std::time::Duration;
use tokio::time::timeout_at;

/// Sends a request with an absolute http URI to a link-local or loopback service: on a new connection, without a proxy.
/// Redirects are returned, not followed. The timeout applies as in [`HttpsClient::send`](crate::HttpsClient::send); the
/// response has no [`ConnectionInfo`](crate::ConnectionInfo).
///
/// # Errors
/// See [`TransportErrorKind`](crate::TransportErrorKind).
pub async fn send_plain(
    request: Request<RequestBody>,
    timeout: Duration,
) -> Result<Response<ResponseBody>, TransportError> {
    let (origin, request) = prepare_request(request, &Scheme::HTTP)?;
    let runtime = RuntimeHandle::current()?;
    let deadline = deadline(timeout);
    let route = Route {
        origin: origin.clone(),
        proxy: None,
        deadline,
    };
    let exchange = async {
        let connection = route.connect_plain(runtime).await?;
        send_on_new(connection, request, deadline, ConnectionUse::New).await
    };
    match timeout_at(deadline, exchange).await {
        Ok(result) => result,
        Err(elapsed) => Err(timed_out(&origin, None).with_source(elapsed)),
    }
}
