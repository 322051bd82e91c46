use crate::connection_info::ConnectionUse;
use crate::exchange::{deadline, send_on_new, timed_out};
use crate::origin::Origin;
use crate::outgoing_request::outgoing_request;
use crate::route::Route;
use crate::runtime_thread::RuntimeHandle;
use crate::send_error::SendError;
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
    request: &mut Request<RequestBody>,
    timeout: Duration,
) -> Result<Response<ResponseBody>, TransportError> {
    let origin = Origin::of(request.uri(), &Scheme::HTTP)?;
    let outgoing = outgoing_request(request, &origin.host_header(&Scheme::HTTP)?)?;
    let runtime = RuntimeHandle::current()?;
    let deadline = deadline(timeout);
    let route = Route {
        origin: origin.clone(),
        proxy: None,
        deadline,
    };
    let connected = timeout_at(deadline, route.connect_plain(runtime)).await;
    let connection = connected.map_err(|_| timed_out(&origin, None))??;
    let sent = send_on_new(connection, outgoing, deadline, ConnectionUse::New).await;
    sent.map_err(|error| match error {
        SendError::NotSent(_, error) | SendError::NoResponse(error) | SendError::Failed(error) => {
            error
        }
        SendError::TimedOut => timed_out(&origin, None),
    })
}
