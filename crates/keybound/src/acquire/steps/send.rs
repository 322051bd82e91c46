use super::error_response::error_of;
use super::imds_server::check_server;
use crate::acquire::Flow;
use crate::retry_after::retry_after;
use crate::wire::Route;
use bytes::Bytes;
use http::{Request, Response};
use keybound_core::retry::{self, Leg, Outcome};
use keybound_core::{Error, MAX_BODY, Result, Stage};
use keybound_transport::{RequestBody, TransportError, TransportErrorKind};
use std::time::Duration;

impl Flow {
    /// Sends a request, with retries as the retry policy has them, and returns the response with status 200.
    pub(super) async fn send(
        &self,
        leg: Leg,
        route: Route<'_>,
        stage: Stage,
        request: impl Fn() -> http::Result<Request<RequestBody>>,
    ) -> Result<Response<Bytes>> {
        let check = |response| check_response(stage, response);
        self.send_checked(leg, route, stage, check, request).await
    }

    /// As [`send`](Self::send), and `check` decides which responses are errors.
    pub(super) async fn send_checked(
        &self,
        leg: Leg,
        route: Route<'_>,
        stage: Stage,
        check: impl Fn(Response<Bytes>) -> Result<Response<Bytes>>,
        request: impl Fn() -> http::Result<Request<RequestBody>>,
    ) -> Result<Response<Bytes>> {
        let check = |result: Result<_, TransportError>| {
            result.map_err(|error| error.at(stage)).and_then(&check)
        };
        let mut attempt = 1;
        loop {
            let request = request().map_err(|error| {
                Error::invalid_request("the request is malformed").with_source(error)
            })?;
            let result = self.attempt(route, attempt_timeout(leg), request).await;
            let Some(delay) = self.delay(leg, stage, attempt, &result) else {
                return check(result);
            };
            let wait_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            tracing::info!(%stage, attempt, reason = %reason(&result), wait_ms, request_id = %self.request_id, "retrying");
            if let Err(error) = check(result) {
                self.progress.note_failure(error);
            }
            attempt += 1;
            tokio::time::sleep(delay).await;
        }
    }

    async fn attempt(
        &self,
        route: Route<'_>,
        timeout: Duration,
        mut request: Request<RequestBody>,
    ) -> Result<Response<Bytes>, TransportError> {
        let wire = &self.context.settings.wire;
        let response = wire.send(&mut request, route, timeout).await?;
        let (head, body) = response.into_parts();
        Ok(Response::from_parts(head, body.collect(MAX_BODY).await?))
    }

    fn delay(
        &self,
        leg: Leg,
        stage: Stage,
        attempt: u32,
        result: &Result<Response<Bytes>, TransportError>,
    ) -> Option<Duration> {
        let (outcome, requested) = match result {
            Ok(response) => (
                Outcome::Status(response.status().as_u16()),
                retry_after(response.headers(), self.context.now().wall),
            ),
            Err(error) if error.kind() == TransportErrorKind::Timeout => (Outcome::Timeout, None),
            // The token flow retries with a new certificate.
            Err(error)
                if error.kind() == TransportErrorKind::ClientCertificateRejected
                    && stage != Stage::Exchange =>
            {
                return None;
            }
            Err(error) if error.is_connection_lost() => (Outcome::NoConnection, None),
            Err(_) => return None,
        };
        retry::delay(leg, attempt, outcome, requested).filter(|_| self.context.settings.retries)
    }
}

/// Returns a response with status 200, otherwise the error.
fn check_response(stage: Stage, response: Response<Bytes>) -> Result<Response<Bytes>> {
    check_server(stage, &response)?;
    match response.status() == 200 {
        true => Ok(response),
        false => Err(error_of(stage, &response)),
    }
}

/// The reason of a retry, for the log.
fn reason(result: &Result<Response<Bytes>, TransportError>) -> String {
    match result {
        Ok(response) => response.status().to_string(),
        Err(error) => error.to_string(),
    }
}

/// The timeout of one attempt: sources are on the host, Entra is not.
fn attempt_timeout(leg: Leg) -> Duration {
    match leg {
        Leg::Entra => Duration::from_secs(30),
        _ => Duration::from_secs(10),
    }
}
