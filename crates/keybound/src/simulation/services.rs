//! The network of a simulated host: each service checks and records its requests, and responds as scripted, or correctly.
use super::TestHost;
use super::about_host::asks_about_host;
use super::app::APP_TENANT;
use super::imds::is_v2;
use super::script::ScriptedResponse;
use crate::Clock as _;
use crate::wire::{Route, SimulatedNetwork};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::BoxFuture;
use http::header::{self, HeaderMap, HeaderName};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use keybound_core::lock;
use keybound_transport::{RequestBody, ResponseBody, TransportError, TransportErrorKind};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::sleep;

/// The services' operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Leg {
    #[default]
    Metadata,
    Issue,
    Attest,
    Token,
    /// The exchange of an assertion for a token of an app registration.
    Exchange,
    /// The request to Azure Arc whose response names a file.
    Challenge,
    /// The token request to a source of v1.
    Source,
    /// The probe whether IMDS has v2.
    Probe,
    /// The probe whether IMDS has v1.
    ProbeV1,
    /// The request for the compute document.
    Compute,
}

/// The legs by name.
pub(super) const LEGS: [(Leg, &str); 10] = [
    (Leg::Metadata, "metadata"),
    (Leg::Issue, "issue"),
    (Leg::Attest, "attest"),
    (Leg::Token, "token"),
    (Leg::Exchange, "exchange"),
    (Leg::Challenge, "challenge"),
    (Leg::Source, "source"),
    (Leg::Probe, "probe"),
    (Leg::ProbeV1, "probe_v1"),
    (Leg::Compute, "compute"),
];

/// One request that a service received.
#[derive(Clone, Debug, Default)]
pub(super) struct Call {
    pub(super) leg: Leg,
    pub(super) at: Duration,
    /// `x-ms-client-request-id`.
    pub(super) request_id: String,
    /// Of the query or the form.
    pub(super) parameters: BTreeMap<String, String>,
    /// The body, if it is JSON.
    pub(super) body: Value,
    /// The number of the client certificate; 0 for none.
    pub(super) certificate: usize,
    pub(super) authorization: Option<String>,
}

impl Call {
    pub(super) fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }

    pub(super) fn bypass(&self) -> bool {
        self.parameters.contains_key("bypass_cache")
    }

    /// The resource of a token request.
    pub(super) fn resource(&self) -> &str {
        match self.leg {
            Leg::Token | Leg::Exchange => self.parameter("scope").trim_end_matches("/.default"),
            _ => self.parameter("resource"),
        }
    }
}

/// A token that Entra or a source issued. Tokens are numbered from 1.
#[derive(Clone, Debug)]
pub(super) struct TokenRecord {
    pub(super) token: String,
    pub(super) resource: String,
    /// 0 for none.
    pub(super) certificate: usize,
    pub(super) expires: SystemTime,
}

/// The network of a simulated host.
#[derive(Clone, Debug)]
pub(super) struct Services(pub(super) Arc<TestHost>);

type Reply = Result<Response<ResponseBody>, TransportError>;

impl SimulatedNetwork for Services {
    fn send<'a>(
        &'a self,
        request: &'a mut Request<RequestBody>,
        route: Route<'a>,
        timeout: Duration,
    ) -> BoxFuture<'a, Reply> {
        Box::pin(async move {
            let (head, body) = read(request).await;
            let Route::Resource(_, reuse) = route else {
                return self.0.serve(&head, &body, &route, timeout).await;
            };
            let at = self.0.elapsed();
            // The latency of a resource.
            sleep(Duration::from_millis(10)).await;
            let mut resource = lock(&self.0.resource);
            resource.respond(&head, &body, reuse, timeout, at)
        })
    }
}

async fn read(request: &mut Request<RequestBody>) -> (Parts, Vec<u8>) {
    // A minimal latency: concurrent requests are sent before the first response arrives, even if all work on other threads is
    // already done.
    tokio::task::yield_now().await;
    let body = request.body_mut().copy_or_take();
    let (mut head, ()) = Request::new(()).into_parts();
    head.method = request.method().clone();
    head.uri = request.uri().clone();
    head.headers = request.headers().clone();
    let body = body.collect().await.unwrap().to_bytes();
    (head, body.to_vec())
}

impl TestHost {
    async fn serve(
        &self,
        head: &Parts,
        body: &[u8],
        route: &Route<'_>,
        timeout: Duration,
    ) -> Reply {
        let mut call = match route {
            Route::Entra(binding) if is_exchange(head) => {
                let thumbprint = &binding.certificate().thumbprints().x5t_s256;
                self.read_exchange(Some(thumbprint.as_str()), head, body)
            }
            Route::Authority(_) => self.read_exchange(None, head, body),
            Route::Entra(binding) => self.read_token_request(binding, head, body)?,
            Route::Plain if asks_about_host(head) => self.read_host_request(head),
            Route::Plain if is_v2(head.uri.path()) => self.read_imds_request(head, body),
            _ => self.read_source_request(head, body, matches!(route, Route::Source(_))),
        };
        call.request_id = text(head, "x-ms-client-request-id").to_owned();
        self.check(call.request_id.len() == 36, "x-ms-client-request-id");
        let response = self.receive(call.clone(), timeout).await?;
        let scripted = response.scripted();
        let correct = scripted.is_none();
        let (status, body) = scripted.unwrap_or_else(|| self.correct(&call, &response));
        let mut reply = Response::new(ResponseBody::full(body));
        *reply.status_mut() = StatusCode::from_u16(status).unwrap();
        let succeeded = correct && status == 200;
        *reply.headers_mut() = self.headers(call.leg, &response, succeeded);
        if correct && (call.leg, status) == (Leg::Challenge, 401) {
            let challenge = self.challenge(&response).parse().unwrap();
            let headers = reply.headers_mut();
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        Ok(reply)
    }

    /// Records a request, and returns its response after the time that it takes.
    pub(super) async fn receive(
        &self,
        call: Call,
        timeout: Duration,
    ) -> Result<ScriptedResponse, TransportError> {
        let response = self.record(call);
        let after = response.after.map(Duration::from_secs_f64);
        if response.hang || after > Some(timeout) {
            sleep(timeout).await;
            let timeout = TransportErrorKind::Timeout;
            return Err(TransportError::new(timeout, "scripted failure"));
        }
        if let Some(after) = after {
            sleep(after).await;
        }
        match response.fault {
            Some(fault) => Err(fault.into()),
            None => Ok(response),
        }
    }

    /// Records a request and returns its response: a random failure, or the next one of the script.
    fn record(&self, call: Call) -> ScriptedResponse {
        let at = self.elapsed();
        let scripted = lock(&self.script).next(&call, at);
        let mut failing = lock(&self.failing);
        let failure = failing.as_mut().and_then(|failing| failing.next(call.leg));
        lock(&self.history).calls.push(Call { at, ..call });
        failure.unwrap_or(scripted)
    }

    /// The correct response with the scripted changes.
    fn correct(&self, call: &Call, response: &ScriptedResponse) -> (u16, String) {
        let (status, mut body) = match call.leg {
            Leg::Metadata | Leg::Issue => self.imds(call),
            Leg::Probe | Leg::ProbeV1 | Leg::Compute => self.about_host(call),
            Leg::Token => self.entra(call, response),
            Leg::Exchange => self.exchanged(call, response),
            Leg::Challenge | Leg::Source => self.source(call, response),
            Leg::Attest => unreachable!("an attestation is no HTTP request"),
        };
        if status == 200 {
            response.change(&mut body);
        }
        let empty = body.is_null();
        let body = (!empty).then(|| response.serialize(&body));
        (status, body.unwrap_or_default())
    }

    fn headers(&self, leg: Leg, response: &ScriptedResponse, succeeded: bool) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut set = |name: HeaderName, value: String| {
            headers.insert(name, value.parse().unwrap());
        };
        let is_imds = !matches!(
            leg,
            Leg::Token | Leg::Exchange | Leg::Challenge | Leg::Source
        );
        let server = response.server.as_deref().unwrap_or("IMDS/150.870.65.1854");
        if is_imds && !server.is_empty() {
            set(header::SERVER, server.to_owned());
        }
        let dated = succeeded && !is_imds && !self.setup.no_date;
        if dated || response.dated {
            set(header::DATE, httpdate::fmt_http_date(self.true_time()));
        }
        if let Some(wait) = response.retry_after {
            set(header::RETRY_AFTER, wait.to_string());
        }
        if let Some(wait) = response.retry_after_date {
            let now = match response.dated {
                true => self.true_time(),
                false => self.now(),
            };
            let date = httpdate::fmt_http_date(now + Duration::from_secs(wait));
            set(header::RETRY_AFTER, date);
        }
        headers
    }

    /// Issues a token with these claims and the usual ones. Returns its lifetime in seconds, its end, and the token.
    pub(super) fn issue_token(
        &self,
        call: &Call,
        response: &ScriptedResponse,
        mut claims: Value,
    ) -> (f64, SystemTime, String) {
        let life = response.expires_in.map(|life| life as f64);
        let life = life.unwrap_or(self.setup.token_life);
        let issued = self.true_time() - Duration::from_secs(response.age.unwrap_or_default());
        let expires = issued + Duration::from_secs_f64(life);
        let mut history = lock(&self.history);
        claims["jti"] = json!((history.tokens.len() + 1).to_string());
        claims["exp"] = json!(seconds(expires));
        for (name, value) in &response.claims {
            claims[name] = value.clone();
        }
        let token = jwt(&claims);
        history.secrets.push(token.clone());
        history.tokens.push(TokenRecord {
            token: token.clone(),
            resource: call.resource().to_owned(),
            certificate: call.certificate,
            expires,
        });
        (life, expires, token)
    }
}

/// Whether a request with a client certificate is one of an app registration.
fn is_exchange(head: &Parts) -> bool {
    head.uri.path().contains(APP_TENANT)
}

/// The value of a header; empty for none.
pub(super) fn text<'a>(head: &'a Parts, name: &str) -> &'a str {
    let value = head.headers.get(name);
    value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// The parameters of a query or form.
pub(super) fn parameters(text: &[u8]) -> BTreeMap<String, String> {
    form_urlencoded::parse(text).into_owned().collect()
}

/// A JWT without a valid signature.
pub(super) fn jwt(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.c2ln", part(&json!({"alg":"none"})), part(claims))
}

pub(super) fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}
