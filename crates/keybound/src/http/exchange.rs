//! One call: attempts, and what their answers ask for.
use super::outgoing::Outgoing;
use super::refusal::{claims_asked, explained, says_binding_failed};
use super::resource_client::Inner;
use super::{authorize, redirect};
use crate::AccessToken;
use crate::retry_after::retry_after;
use crate::wire::Connections;
use http::{Request, Response, StatusCode};
use keybound_core::{Claims, Error, ErrorKind, Result, Stage, TokenType};
use keybound_transport::{ConnectionInfo, RequestBody, ResponseBody};
use std::ops::ControlFlow;
use std::time::Duration;
use tokio::time::Instant;

/// Makes a call.
pub(super) async fn run(client: &Inner, request: Request<RequestBody>) -> Result<super::Response> {
    let now = Instant::now();
    let timeout = client.timeout(&request).min(LONGEST_TIMEOUT);
    let outgoing = Outgoing::new(request)?;
    let token = client.tokens.current(timeout).await?;
    let mut exchange = Exchange {
        client,
        outgoing,
        deadline: now + timeout,
        token,
        connections: Connections::Kept,
        challenge_answered: false,
        bound_again: false,
        redirects: 0,
        waits: 0,
    };
    loop {
        match exchange.attempt().await? {
            Verdict::Break(answer) => return Ok(exchange.finish(answer)),
            Verdict::Continue(()) => {}
        }
    }
}

struct Exchange<'a> {
    client: &'a Inner,
    outgoing: Outgoing,
    deadline: Instant,
    token: AccessToken,
    connections: Connections,
    challenge_answered: bool,
    bound_again: bool,
    redirects: u32,
    waits: u32,
}

/// Breaks with the answer that is the caller's; goes on where the request is to be sent again.
type Verdict = ControlFlow<Response<ResponseBody>>;

// Futures that hold a `&self` would not be `Send`: a streamed body is not to be shared.
impl Exchange<'_> {
    async fn attempt(&mut self) -> Result<Verdict> {
        let answer = self.send().await?;
        match answer.status() {
            StatusCode::UNAUTHORIZED => self.unauthorized(answer).await,
            StatusCode::FORBIDDEN | StatusCode::PAYLOAD_TOO_LARGE if self.is_bound() => {
                Ok(Verdict::Break(explained(answer).await?))
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                self.told_to_wait(answer).await
            }
            status if status.is_redirection() => self.redirected(answer).await,
            _ => Ok(Verdict::Break(answer)),
        }
    }

    async fn send(&mut self) -> Result<Response<ResponseBody>> {
        let time = self.time_left()?;
        let mut request = self.outgoing.request()?;
        let host = self.outgoing.uri().host().unwrap_or_default();
        let announced = &self.client.options.announced;
        authorize(request.headers_mut(), host, &self.token, announced)?;
        let connections = std::mem::replace(&mut self.connections, Connections::Kept);
        let https = match (self.token.binding(), &self.client.plain) {
            (Some(binding), _) => binding.https(),
            (None, Some(plain)) => plain,
            // No client is made for bearer tokens without one.
            (None, None) => {
                return Err(Error::invalid_request("a bearer token is not wanted here"));
            }
        };
        tracing::debug!(method = %request.method(), host, "calling the resource");
        let begun = Instant::now();
        let wire = &self.client.shared.settings.wire;
        let sent = wire.resource(https, request, connections, time).await;
        let elapsed_ms = begun.elapsed().as_secs_f64() * 1000.0;
        match &sent {
            Ok(answer) => {
                let connection = answer.extensions().get::<ConnectionInfo>();
                tracing::debug!(
                    status = answer.status().as_u16(),
                    elapsed_ms,
                    tls = connection.map(|connection| connection.tls_version),
                    reused = connection.map(|connection| connection.reused),
                    "the resource answered"
                );
            }
            Err(error) => tracing::debug!(%error, elapsed_ms, "the resource did not answer"),
        }
        sent.map_err(|error| error.at(Stage::Resource))
    }

    async fn unauthorized(&mut self, mut answer: Response<ResponseBody>) -> Result<Verdict> {
        if let Some(claims) = claims_asked(answer.headers()) {
            if self.challenge_answered {
                return Ok(Verdict::Break(answer));
            }
            if !self.outgoing.can_be_sent() {
                self.prepare_for_next(claims).await;
                return Ok(Verdict::Break(answer));
            }
            tracing::info!("the resource asks for other claims: getting a token that meets them");
            drop(answer);
            let time = self.time_left()?;
            let tokens = &self.client.tokens;
            self.token = tokens.meeting(claims, &self.token, time).await?;
            self.challenge_answered = true;
            return Ok(Verdict::Continue(()));
        }
        if !self.is_bound() {
            return Ok(Verdict::Break(answer));
        }
        answer = explained(answer).await?;
        let once_more = !self.bound_again && self.outgoing.can_be_sent();
        if !once_more || !says_binding_failed(&mut answer).await {
            return Ok(Verdict::Break(answer));
        }
        tracing::info!("the resource could not validate the binding: trying on a new connection");
        drop(answer);
        let time = self.time_left()?;
        self.token = self.client.tokens.after(&self.token, time).await?;
        self.connections = Connections::New;
        self.bound_again = true;
        Ok(Verdict::Continue(()))
    }

    /// Gets a token that meets the claims for the calls to come: else a caller whose bodies cannot be sent again would be
    /// challenged for as long as the token lives.
    async fn prepare_for_next(&mut self, claims: Claims) {
        let Ok(time) = self.time_left() else { return };
        let tokens = &self.client.tokens;
        if let Err(error) = tokens.meeting(claims, &self.token, time).await {
            tracing::debug!(%error, "no token meets the claims that the resource asks for");
        }
    }

    async fn told_to_wait(&mut self, answer: Response<ResponseBody>) -> Result<Verdict> {
        let wait = retry_after(answer.headers(), self.client.shared.now().wall)
            .map(|wait| wait.max(LEAST_WAIT))
            .filter(|wait| *wait < self.deadline.saturating_duration_since(Instant::now()));
        let may = self.client.options.waits
            && self.waits < MOST_WAITS
            && self.outgoing.method().is_idempotent()
            && self.outgoing.can_be_sent();
        let Some(wait) = wait.filter(|_| may) else {
            return Ok(Verdict::Break(answer));
        };
        let wait_ms = wait.as_secs_f64() * 1000.0;
        tracing::info!(
            status = answer.status().as_u16(),
            wait_ms,
            "the resource asks to wait"
        );
        done_with(answer).await;
        tokio::time::sleep(wait).await;
        self.waits += 1;
        let time = self.time_left()?;
        self.token = self.client.tokens.current(time).await?;
        Ok(Verdict::Continue(()))
    }

    async fn redirected(&mut self, answer: Response<ResponseBody>) -> Result<Verdict> {
        let may = self.client.options.follows
            && self.redirects < MOST_REDIRECTS
            && self.outgoing.method().is_safe()
            && self.outgoing.can_be_sent();
        let target = redirect::target(answer.status(), answer.headers(), self.outgoing.uri());
        let Some(target) = target.filter(|_| may) else {
            return Ok(Verdict::Break(answer));
        };
        tracing::debug!(
            status = answer.status().as_u16(),
            "following a redirect within the origin"
        );
        done_with(answer).await;
        self.outgoing.set_uri(target);
        self.redirects += 1;
        Ok(Verdict::Continue(()))
    }

    fn is_bound(&self) -> bool {
        self.token.token_type() == TokenType::MtlsPop
    }

    fn time_left(&self) -> Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::new(
                ErrorKind::DeadlineReached,
                Stage::Resource,
                "the time of the call was over before the resource had answered for good",
            ));
        }
        Ok(left)
    }

    fn finish(self, answer: Response<ResponseBody>) -> super::Response {
        super::Response::new(answer, self.token)
    }
}

/// Reads what is left of an answer that is not wanted, if it is short and comes soon, so that its connection can be used
/// again.
async fn done_with(answer: Response<ResponseBody>) {
    // Whatever goes wrong: the connection is closed then.
    let rest = answer.into_body().collect(LONGEST_LEFTOVER);
    let _ = tokio::time::timeout(LEFTOVER_PATIENCE, rest).await;
}

const MOST_WAITS: u32 = 5;
const MOST_REDIRECTS: u32 = 5;
/// A server that says 0 is not asked again at once.
const LEAST_WAIT: Duration = Duration::from_millis(200);
/// A longer timeout is none; clocks overflow on much more.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);
const LONGEST_LEFTOVER: usize = 64 * 1024;
const LEFTOVER_PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use keybound_transport::PlainClient;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn an_answer_that_does_not_end_does_not_use_up_the_time_of_the_call() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
            let half = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 8\r\n\r\nhalf";
            stream.write_all(half).await.unwrap();
            stream
        };
        let request = Request::get(format!("http://{address}/")).body(RequestBody::empty());
        let client = PlainClient::default();
        let sent = client.send(request.unwrap(), Duration::from_secs(600));
        let (answer, mut stream) = tokio::join!(sent, server);
        tokio::time::pause();
        let begun = Instant::now();
        done_with(answer.unwrap()).await;
        assert!(begun.elapsed() < LEFTOVER_PATIENCE * 2);
        tokio::time::resume();
        // Its connection is closed.
        assert!(matches!(stream.read(&mut [0]).await, Ok(0) | Err(_)));
    }
}
