use super::error_response::{challenge_claims, is_binding_failure, missing_client_cert};
use super::replayable_request::ReplayableRequest;
use super::resource_client::Inner;
use super::{RequestTimeout, authorize, redirect};
use crate::AccessToken;
use crate::retry_after::retry_after;
use crate::wire::Route;
use http::{Request, Response, StatusCode};
use keybound_core::{Claims, Error, ErrorKind, Result, Stage, TokenType};
use keybound_transport::{ConnectionReuse, RequestBody, ResponseBody};
use std::ops::ControlFlow;
use std::time::Duration;
use tokio::time::Instant;

/// One call of a resource: the attempts to send its request, and the decision after each response.
pub(super) struct ResourceCall<'a> {
    client: &'a Inner,
    request: ReplayableRequest,
    deadline: Instant,
    token: AccessToken,
    reuse: ConnectionReuse,
    challenge_handled: bool,
    binding_retried: bool,
    redirects: u32,
    waits: u32,
}

/// Breaks with the response to return; continues if the request is to be sent again.
type Decision = ControlFlow<Response<ResponseBody>>;

// The methods take `&mut self`: a future that holds a `&self` would not be `Send`, because a streamed body is not `Sync`.
impl<'a> ResourceCall<'a> {
    /// Sends a request, and sends it again if a response requires that.
    pub(super) async fn run(
        client: &'a Inner,
        request: Request<RequestBody>,
    ) -> Result<super::Response> {
        let now = Instant::now();
        let timeout = match request.extensions().get::<RequestTimeout>() {
            Some(timeout) => timeout.0,
            None => client.options.timeout,
        };
        let timeout = timeout.min(MAX_TIMEOUT);
        let request = ReplayableRequest::new(request)?;
        let token = client.tokens.current(timeout).await?;
        let mut call = Self {
            client,
            request,
            deadline: now + timeout,
            token,
            reuse: ConnectionReuse::Allowed,
            challenge_handled: false,
            binding_retried: false,
            redirects: 0,
            waits: 0,
        };
        loop {
            if let Decision::Break(response) = call.attempt().await? {
                return Ok(super::Response::new(response, call.token));
            }
        }
    }

    async fn attempt(&mut self) -> Result<Decision> {
        let mut response = self.send().await?;
        match response.status() {
            StatusCode::UNAUTHORIZED => self.unauthorized(response).await,
            StatusCode::FORBIDDEN | StatusCode::PAYLOAD_TOO_LARGE if self.is_bound() => {
                let error = missing_client_cert(&mut response).await;
                error.map_or(Ok(Decision::Break(response)), Err)
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                self.wait_and_retry(response).await
            }
            status if status.is_redirection() => self.redirected(response).await,
            _ => Ok(Decision::Break(response)),
        }
    }

    async fn send(&mut self) -> Result<Response<ResponseBody>> {
        let time = self.remaining_time()?;
        let request = self.request.get_mut()?;
        let hosts = &self.client.options.token_bound_auth_hosts;
        authorize(request, &self.token, hosts)?;
        let reuse = std::mem::replace(&mut self.reuse, ConnectionReuse::Allowed);
        let https = match self.token.binding() {
            Some(binding) => binding.https(),
            // `build` creates it for bearer tokens.
            None => self.client.without_certificate.as_ref().ok_or_else(|| {
                Error::invalid_request("internal error: no client for bearer tokens")
            })?,
        };
        tracing::debug!(
            method = %request.method(),
            host = request.uri().host(),
            "sending the request to the resource"
        );
        let started = Instant::now();
        let wire = &self.client.shared.settings.wire;
        let result = wire
            .send(request, Route::Resource(https, reuse), time)
            .await;
        let elapsed_ms = started.elapsed().as_secs_f64() * 1000.0;
        match &result {
            Ok(response) => {
                let connection = response.body().connection();
                tracing::debug!(
                    status = response.status().as_u16(),
                    elapsed_ms,
                    tls = connection.map(|connection| connection.tls_version),
                    reused = connection.map(|connection| connection.reused),
                    "the resource responded"
                );
            }
            Err(error) => tracing::debug!(%error, elapsed_ms, "the resource did not respond"),
        }
        result.map_err(|error| error.at(Stage::Resource))
    }

    async fn unauthorized(&mut self, mut response: Response<ResponseBody>) -> Result<Decision> {
        if let Some(claims) = challenge_claims(response.headers()) {
            if self.challenge_handled {
                return Ok(Decision::Break(response));
            }
            if !self.request.can_be_sent() {
                self.fetch_for_later_requests(claims).await;
                return Ok(Decision::Break(response));
            }
            tracing::info!(
                "the resource requires further claims: fetching a token that meets them"
            );
            let time = self.remaining_time()?;
            let tokens = &self.client.tokens;
            let token = tokens.for_claims(claims, &self.token, time).await?;
            if token.is(&self.token) {
                return Ok(Decision::Break(response));
            }
            drop(response);
            self.token = token;
            self.challenge_handled = true;
            return Ok(Decision::Continue(()));
        }
        if !self.is_bound() {
            return Ok(Decision::Break(response));
        }
        if let Some(error) = missing_client_cert(&mut response).await {
            return Err(error);
        }
        let may_retry = !self.binding_retried && self.request.can_be_sent();
        if !may_retry || !is_binding_failure(&mut response).await {
            return Ok(Decision::Break(response));
        }
        tracing::info!("the resource could not validate the binding: retrying on a new connection");
        drop(response);
        let time = self.remaining_time()?;
        self.token = self
            .client
            .tokens
            .after_binding_failure(&self.token, time)
            .await?;
        self.reuse = ConnectionReuse::Never;
        self.binding_retried = true;
        Ok(Decision::Continue(()))
    }

    /// Fetches a token that meets the claims, for later requests. Without it, a caller that streams its bodies would be challenged
    /// until the token expires.
    async fn fetch_for_later_requests(&mut self, claims: Claims) {
        let Ok(time) = self.remaining_time() else {
            return;
        };
        let tokens = &self.client.tokens;
        if let Err(error) = tokens.for_claims(claims, &self.token, time).await {
            tracing::debug!(%error, "no token meets the claims that the resource requires");
        }
    }

    async fn wait_and_retry(&mut self, response: Response<ResponseBody>) -> Result<Decision> {
        let wait = retry_after(response.headers(), self.client.shared.now().wall)
            .map(|wait| wait.max(MIN_WAIT))
            .filter(|wait| *wait < self.deadline.saturating_duration_since(Instant::now()));
        let may_retry = self.client.options.honors_retry_after
            && self.waits < MAX_WAITS
            && self.request.method().is_idempotent()
            && self.request.can_be_sent();
        let Some(wait) = wait.filter(|_| may_retry) else {
            return Ok(Decision::Break(response));
        };
        let wait_ms = wait.as_secs_f64() * 1000.0;
        tracing::info!(
            status = response.status().as_u16(),
            wait_ms,
            "waiting as Retry-After requires"
        );
        drain(response).await;
        tokio::time::sleep(wait).await;
        self.waits += 1;
        let time = self.remaining_time()?;
        self.token = self.client.tokens.current(time).await?;
        Ok(Decision::Continue(()))
    }

    async fn redirected(&mut self, response: Response<ResponseBody>) -> Result<Decision> {
        let may_follow = self.client.options.follows_redirects
            && self.redirects < MAX_REDIRECTS
            && self.request.method().is_safe()
            && self.request.can_be_sent();
        let target = redirect::target(response.status(), response.headers(), self.request.uri());
        let Some(target) = target.filter(|_| may_follow) else {
            return Ok(Decision::Break(response));
        };
        tracing::debug!(
            status = response.status().as_u16(),
            "following a redirect within the origin"
        );
        drain(response).await;
        self.request.set_uri(target);
        self.redirects += 1;
        Ok(Decision::Continue(()))
    }

    fn is_bound(&self) -> bool {
        self.token.token_type() == TokenType::MtlsPop
    }

    fn remaining_time(&self) -> Result<Duration> {
        let remaining = self.deadline.saturating_duration_since(Instant::now());
        if remaining.is_zero() {
            return Err(Error::new(
                ErrorKind::DeadlineExceeded,
                Stage::Resource,
                "the timeout of the call passed before the final response of the resource",
            ));
        }
        Ok(remaining)
    }
}

/// Reads the body of a response that is discarded, if it is short and fast, so that its connection can be reused.
async fn drain(response: Response<ResponseBody>) {
    // On an error the connection is closed.
    let body = response.into_body().collect(DRAIN_LIMIT);
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, body).await;
}

const MAX_WAITS: u32 = 5;
const MAX_REDIRECTS: u32 = 5;
/// For `Retry-After: 0`.
const MIN_WAIT: Duration = Duration::from_millis(200);
/// Adding a much longer timeout to an `Instant` may overflow.
const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);
const DRAIN_LIMIT: usize = 64 * 1024;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use keybound_transport::send_plain;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn closes_the_connection_of_a_slow_discarded_response() {
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
        let mut request = request.unwrap();
        let sent = send_plain(&mut request, Duration::from_secs(600));
        let (response, mut stream) = tokio::join!(sent, server);
        tokio::time::pause();
        let started = Instant::now();
        drain(response.unwrap()).await;
        assert!(started.elapsed() < DRAIN_TIMEOUT * 2);
        tokio::time::resume();
        // The client closed the connection.
        assert!(matches!(stream.read(&mut [0]).await, Ok(0) | Err(_)));
    }
}
