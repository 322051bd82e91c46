use super::Flow;
use crate::transport::transport_error;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use keybound_core::retry::{self, Leg, Outcome};
use keybound_core::{MAX_BODY, Result, Stage};
use keybound_tls::{
    HttpsClient, PlainClient, RequestBody, ResponseBody, TransportError, TransportErrorKind,
};
use std::time::{Duration, SystemTime};

/// A whole answer of a service.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The caller's deadline cut the attempts short.
    pub(super) deadline_reached: bool,
}

/// The client that a leg goes over.
pub(super) enum Over<'a> {
    Plain(&'a PlainClient),
    Tls(&'a HttpsClient),
}

impl Over<'_> {
    async fn send(
        &self,
        request: Request<RequestBody>,
        timeout: Duration,
    ) -> Result<http::Response<ResponseBody>, TransportError> {
        match self {
            Self::Plain(client) => client.send(request, timeout).await,
            Self::Tls(client) => client.send(request, timeout).await,
        }
    }
}

impl Flow<'_> {
    /// Sends a request, again where the retry table says so, and returns the last answer whatever its status.
    pub(super) async fn call(
        &self,
        over: Over<'_>,
        leg: Leg,
        stage: Stage,
        request: impl Fn() -> Result<Request<RequestBody>>,
    ) -> Result<Answer> {
        let mut last = None;
        let mut attempt = 1;
        loop {
            let timeout = self.remaining().min(longest_attempt(leg));
            let result = exchange(&over, request()?, timeout).await;
            let Some(delay) = self.delay(leg, attempt, &result) else {
                return settle(stage, result, last, self.remaining().is_zero());
            };
            if delay >= self.remaining() {
                return settle(stage, result, last, true);
            }
            let wait_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            tracing::info!(%stage, attempt, reason = %reason(&result), wait_ms, request_id = %self.request_id, "trying again");
            last = result.ok().or(last);
            attempt += 1;
            tokio::time::sleep(delay).await;
        }
    }

    fn delay(
        &self,
        leg: Leg,
        attempt: u32,
        result: &Result<Answer, TransportError>,
    ) -> Option<Duration> {
        let (outcome, wait_asked) = match result {
            Ok(answer) => (
                Outcome::Status(answer.status.as_u16()),
                self.retry_after(&answer.headers),
            ),
            Err(error) if error.kind() == TransportErrorKind::Timeout => (Outcome::Timeout, None),
            Err(_) => return None,
        };
        retry::delay(leg, attempt, outcome, wait_asked).filter(|_| self.shared.settings.retries)
    }

    fn retry_after(&self, headers: &HeaderMap) -> Option<Duration> {
        parse_retry_after(
            headers.get(header::RETRY_AFTER)?.to_str().ok()?,
            self.shared.settings.clock.now(),
        )
    }
}

async fn exchange(
    over: &Over<'_>,
    request: Request<RequestBody>,
    timeout: Duration,
) -> Result<Answer, TransportError> {
    let (head, body) = over.send(request, timeout).await?.into_parts();
    let body = body.collect(MAX_BODY).await?;
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body,
        deadline_reached: false,
    })
}

/// The end of the attempts: the last thing that a service answered, where the deadline cut them short.
fn settle(
    stage: Stage,
    result: Result<Answer, TransportError>,
    last: Option<Answer>,
    cut_short: bool,
) -> Result<Answer> {
    match (result, last) {
        (Ok(answer), _) => Ok(Answer {
            deadline_reached: cut_short && !answer.status.is_success(),
            ..answer
        }),
        (Err(error), Some(last)) if cut_short && error.kind() == TransportErrorKind::Timeout => {
            Ok(Answer {
                deadline_reached: true,
                ..last
            })
        }
        (Err(error), _) => Err(transport_error(stage, error)),
    }
}

fn reason(result: &Result<Answer, TransportError>) -> String {
    match result {
        Ok(answer) => answer.status.to_string(),
        Err(error) => error.to_string(),
    }
}

/// Reads `Retry-After` (RFC 9110 section 10.2.3): seconds, or a date.
fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value.trim()).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// How long one attempt may take before it counts as timed out: IMDS is on the host, Entra is not.
fn longest_attempt(leg: Leg) -> Duration {
    match leg {
        Leg::Entra => Duration::from_secs(30),
        _ => Duration::from_secs(10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let parse = |value| parse_retry_after(value, now);
        assert_eq!(parse("7"), Some(Duration::from_secs(7)));
        assert_eq!(
            parse("Sun, 06 Nov 1994 08:49:47 GMT"),
            Some(Duration::from_secs(10))
        );
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:27 GMT"), Some(Duration::ZERO));
        assert_eq!(parse("-1"), None);
        assert_eq!(parse("soon"), None);
    }
}
