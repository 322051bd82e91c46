use super::imds_server::check_sender;
use super::refusal::refusal;
use crate::Binding;
use crate::acquire::Flow;
use crate::retry_after::retry_after;
use crate::wire::Route;
use bytes::Bytes;
use http::{Request, Response};
use keybound_core::retry::{self, Leg, Outcome};
use keybound_core::{Error, MAX_BODY, Result, Stage};
use keybound_transport::{RequestBody, TransportError, TransportErrorKind};
use std::time::Duration;

/// Where a leg goes.
#[derive(Clone, Copy)]
pub(super) enum To<'a> {
    Imds,
    /// IMDS, where 404 is an answer.
    ImdsProbe,
    Entra(&'a Binding),
}

impl To<'_> {
    fn leg(self) -> Leg {
        match self {
            Self::Imds => Leg::Imds,
            Self::ImdsProbe => Leg::ImdsProbe,
            Self::Entra(_) => Leg::Entra,
        }
    }
}

impl Flow {
    /// Sends a request, again where the retry table says so, and returns the answer with status 200.
    pub(super) async fn call(
        &self,
        to: To<'_>,
        stage: Stage,
        request: impl Fn() -> Result<Request<RequestBody>>,
    ) -> Result<Response<Bytes>> {
        let mut attempt = 1;
        loop {
            let result = self.attempt(to, request()?).await;
            let Some(delay) = self.delay(to.leg(), attempt, &result) else {
                return settle(stage, result);
            };
            let wait_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            tracing::info!(%stage, attempt, reason = %reason(&result), wait_ms, request_id = %self.request_id, "trying again");
            if let Err(error) = settle(stage, result) {
                self.progress.note_failure(error);
            }
            attempt += 1;
            tokio::time::sleep(delay).await;
        }
    }

    async fn attempt(
        &self,
        to: To<'_>,
        request: Request<RequestBody>,
    ) -> Result<Response<Bytes>, TransportError> {
        let route = match to {
            To::Imds | To::ImdsProbe => Route::Imds,
            To::Entra(binding) => Route::Entra(binding),
        };
        let wire = &self.shared.settings.wire;
        let timeout = longest_attempt(to.leg());
        let response = wire.send(request, route, timeout).await?;
        let (head, body) = response.into_parts();
        Ok(Response::from_parts(head, body.collect(MAX_BODY).await?))
    }

    fn delay(
        &self,
        leg: Leg,
        attempt: u32,
        result: &Result<Response<Bytes>, TransportError>,
    ) -> Option<Duration> {
        let (outcome, wait_asked) = match result {
            Ok(answer) => (
                Outcome::Status(answer.status().as_u16()),
                retry_after(answer.headers(), self.shared.now().wall),
            ),
            Err(error) if error.kind() == TransportErrorKind::Timeout => (Outcome::Timeout, None),
            // A new certificate is the remedy, not another attempt with this one.
            Err(error) if error.kind() == TransportErrorKind::ClientCertificateRejected => {
                return None;
            }
            Err(error) if error.is_connection_lost() => (Outcome::NoConnection, None),
            Err(_) => return None,
        };
        retry::delay(leg, attempt, outcome, wait_asked).filter(|_| self.shared.settings.retries)
    }
}

/// The answer, or the error that it is.
fn settle(
    stage: Stage,
    result: Result<Response<Bytes>, TransportError>,
) -> Result<Response<Bytes>, Error> {
    if let Ok(answer) = &result {
        check_sender(stage, answer)?;
    }
    match result {
        Ok(answer) if answer.status() == 200 => Ok(answer),
        Ok(answer) => Err(refusal(stage, &answer)),
        Err(error) => Err(error.at(stage)),
    }
}

fn reason(result: &Result<Response<Bytes>, TransportError>) -> String {
    match result {
        Ok(answer) => answer.status().to_string(),
        Err(error) => error.to_string(),
    }
}

/// How long one attempt may take before it counts as timed out: IMDS is on the host, Entra is not.
fn longest_attempt(leg: Leg) -> Duration {
    match leg {
        Leg::Entra => Duration::from_secs(30),
        _ => Duration::from_secs(10),
    }
}
