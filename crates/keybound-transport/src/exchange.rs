//! The parts of an exchange that plain and TLS connections share.
use crate::connection::Connection;
use crate::connection_info::{ConnectionInfo, ConnectionUse};
use crate::origin::Origin;
use crate::send_error::SendError;
use crate::{RequestBody, ResponseBody, TransportError, TransportErrorKind};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use std::time::Duration;
use tokio::time::Instant;

/// The time at which a timeout ends.
pub(crate) fn deadline(timeout: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(timeout).unwrap_or(now + MAX_TIMEOUT)
}

/// The error of a request whose deadline has passed. Names the proxy, if any: it may be the cause.
pub(crate) fn timed_out(origin: &Origin, proxy: Option<String>) -> TransportError {
    let route = proxy.map_or_else(String::new, |proxy| format!(", through {proxy}"));
    TransportError::new(
        TransportErrorKind::Timeout,
        format!(
            "{} did not respond before the deadline{route}",
            origin.name()
        ),
    )
}

/// Sends a request on a new connection.
pub(crate) async fn send_on_new(
    mut connection: Box<Connection>,
    request: Request<RequestBody>,
    deadline: Instant,
    connection_use: ConnectionUse,
) -> Result<Response<ResponseBody>, SendError> {
    connection.set_deadline(deadline);
    let response = connection.send(request).await?;
    Ok(into_response(connection, response, connection_use))
}

/// The response for the caller, whose body owns the connection.
pub(crate) fn into_response(
    mut connection: Box<Connection>,
    response: Response<Incoming>,
    connection_use: ConnectionUse,
) -> Response<ResponseBody> {
    let info = connection
        .peer()
        .state
        .as_ref()
        .map(|state| ConnectionInfo {
            tls_engine: state.engine(),
            tls_version: state.version(),
            certificate_requested: state.certificate_requested(),
            reused: connection_use == ConnectionUse::Reused,
            retried: connection_use == ConnectionUse::Retried,
            server: state.server_certificate().cloned(),
        });
    let state = connection.peer().state.as_ref();
    let certificate_unused =
        state.is_some_and(|state| state.has_identity() && !state.certificate_requested());
    if certificate_unused && may_need_certificate(response.status()) {
        connection.disable_reuse();
    }
    response.map(|incoming| ResponseBody::new(incoming, connection, info))
}

/// Whether the server may have rejected the request for want of a certificate. It may request one on a new connection.
fn may_need_certificate(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401 | 403 | 413)
}

const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);
