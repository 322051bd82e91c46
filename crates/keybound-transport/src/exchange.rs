//! The parts of an exchange that plain and TLS connections share.
use crate::connection::Connection;
use crate::connection_info::{ConnectionInfo, ConnectionUse};
use crate::origin::Origin;
use crate::send_error::SendError;
use crate::{RequestBody, ResponseBody, TransportError, TransportErrorKind};
use http::{Request, Response};
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
    mut connection: Connection,
    request: Request<RequestBody>,
    deadline: Instant,
    connection_use: ConnectionUse,
) -> Result<Response<ResponseBody>, TransportError> {
    match connection.send(request).await {
        Ok(response) => Ok(into_response(
            connection,
            response,
            deadline,
            connection_use,
        )),
        Err(SendError::Failed(error)) => Err(error),
        Err(SendError::NotSent(_) | SendError::SafeToRetry(_)) => Err(TransportError::new(
            TransportErrorKind::Connect,
            format!("{} closed the new connection", connection.peer().name),
        )
        .with_connection_lost()),
    }
}

/// The response for the caller, whose body owns the connection.
pub(crate) fn into_response(
    mut connection: Connection,
    response: Response<Incoming>,
    deadline: Instant,
    connection_use: ConnectionUse,
) -> Response<ResponseBody> {
    let (mut parts, incoming) = response.into_parts();
    if let Some(state) = &connection.peer().state {
        parts.extensions.insert(ConnectionInfo {
            tls_engine: state.engine(),
            tls_version: state.version(),
            certificate_requested: state.certificate_requested(),
            reused: connection_use == ConnectionUse::Reused,
            repeated: connection_use == ConnectionUse::Retried,
        });
        let certificate_unused = state.has_identity() && !state.certificate_requested();
        if certificate_unused && may_need_certificate(&parts) {
            connection.disable_reuse();
        }
    }
    Response::from_parts(parts, ResponseBody::new(incoming, connection, deadline))
}

/// Whether the server may have rejected the request because of the missing certificate. It may request one on a new connection.
fn may_need_certificate(parts: &http::response::Parts) -> bool {
    matches!(parts.status.as_u16(), 401 | 403 | 413)
}

const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);
