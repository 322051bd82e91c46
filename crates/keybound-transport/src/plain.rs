use crate::client::{ConnectionUse, answer, deadline, timed_out};
use crate::connect::Route;
use crate::connection::SendError;
use crate::driver::{Driver, Place};
use crate::target::{Target, prepare};
use crate::{RequestBody, ResponseBody, TransportError, TransportErrorKind};
use http::uri::Scheme;
use http::{Request, Response};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// A plain HTTP/1.1 client for link-local and loopback services: never through a proxy, never redirected. Each request
/// has a connection of its own.
#[derive(Clone, Debug)]
pub struct PlainClient(());

impl PlainClient {
    /// A client without connections yet.
    pub fn new() -> Self {
        Self(())
    }

    /// Sends a request with an absolute http URI. See [`HttpsClient::send`](crate::HttpsClient::send) for the rest; the
    /// answer has no [`ConnectionInfo`](crate::ConnectionInfo).
    ///
    /// # Errors
    /// See [`TransportErrorKind`].
    pub async fn send(
        &self,
        request: Request<RequestBody>,
        timeout: Duration,
    ) -> Result<Response<ResponseBody>, TransportError> {
        let (target, request) = prepare(request, &Scheme::HTTP)?;
        let place = Driver::Caller.place()?;
        let deadline = deadline(timeout);
        let exchange = exchange(target.clone(), request, place, deadline);
        match timeout_at(deadline, exchange).await {
            Ok(answer) => answer,
            Err(elapsed) => Err(timed_out(&target, None).with_source(elapsed)),
        }
    }
}

impl Default for PlainClient {
    fn default() -> Self {
        Self::new()
    }
}

async fn exchange(
    target: Target,
    request: Request<RequestBody>,
    place: Place,
    deadline: Instant,
) -> Result<Response<ResponseBody>, TransportError> {
    let route = Route {
        target,
        proxy: None,
        deadline,
    };
    let mut connection = route.connect_plain(place).await?;
    match connection.send(request).await {
        Ok(response) => Ok(answer(connection, response, deadline, ConnectionUse::New)),
        Err(SendError::Failed(error)) => Err(error),
        Err(SendError::NotSent(_) | SendError::SafeToRetry(_)) => Err(TransportError::new(
            TransportErrorKind::Connect,
            "the connection was closed at once",
        )
        .with_connection_lost()),
    }
}
