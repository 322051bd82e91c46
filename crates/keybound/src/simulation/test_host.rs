//! The simulated host: its services with their history, and two clocks: the services' clock, and the host's, which can be wrong.
use super::imds::is_v2;
use super::resource::Resource;
use super::script::{Fault, RequestContext, Script, ScriptedResponse};
use super::sources::HostKind;
use crate::keys::{KeyProvider, ProviderChain};
use crate::wire::{Route, SimulatedNetwork};
use crate::{
    Clock, Environment, KeyRequirements, ManagedIdentityClient, ManagedIdentityClientBuilder,
    TokenRequest,
};
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt as _;
use keybound_core::{KeyStrength, lock};
use keybound_transport::{RequestBody, ResponseBody, TransportError, TransportErrorKind};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Display};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tokio::time::Instant;

/// The services' operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Leg {
    Metadata,
    Issue,
    Attest,
    Token,
    /// The request to Azure Arc that it answers with the name of a file.
    Challenge,
    /// The token request to a source of v1.
    Source,
}

/// One request that a service received.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) leg: Leg,
    pub(super) at: Duration,
    pub(super) bypass: bool,
    pub(super) claims: Option<String>,
    pub(super) attestation: Option<String>,
    /// `x-ms-client-request-id`.
    pub(super) request_id: String,
    /// The parameters of a request to a source of v1.
    pub(super) query: BTreeMap<String, String>,
}

/// A certificate that IMDS issued. Certificates are numbered from 1.
#[derive(Clone)]
pub(super) struct CertificateRecord {
    pub(super) der: Vec<u8>,
    pub(super) thumbprint: String,
    pub(super) holder: (String, Vec<u8>, bool),
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
    pub(super) token_not_after: Option<SystemTime>,
}

/// A token that Entra or a source issued. Tokens are numbered from 1.
#[derive(Clone, Debug)]
pub(super) struct TokenRecord {
    pub(super) resource: String,
    /// 0 for none.
    pub(super) certificate: usize,
    pub(super) expires: SystemTime,
}

/// The settings of a simulated host.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Setup {
    /// The kind of the host, whose variables every client sees.
    pub(super) host: HostKind,
    pub(super) certificate_life: f64,
    /// Seconds until a certificate's `token_not_after`. Default: it has none.
    pub(super) certificate_token_life: Option<f64>,
    pub(super) token_life: f64,
    pub(super) refresh_in: Option<f64>,
    pub(super) attestation_life: f64,
    /// Whether IMDS returns the same certificate in the first half of its lifetime, as the real one does.
    pub(super) imds_cache: bool,
    /// The number of seconds for which it does so instead.
    pub(super) imds_cache_life: Option<f64>,
    /// Whether it responds with 400 to `bypass_cache`.
    pub(super) imds_rejects_bypass: bool,
    /// Whether it always returns the same certificate.
    pub(super) imds_stuck: bool,
    pub(super) retries: bool,
    pub(super) capabilities: Vec<String>,
    pub(super) store: Option<super::store::StoreBehavior>,
    pub(super) key: KeyStrengthName,
    pub(super) persistent_key: bool,
    pub(super) no_attestation: bool,
    /// Whether Entra's responses have no `Date`.
    pub(super) no_date: bool,
}

/// A [`KeyStrength`] by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum KeyStrengthName {
    Software,
    Hardware,
    KeyGuard,
}

impl From<KeyStrengthName> for KeyStrength {
    fn from(strength: KeyStrengthName) -> Self {
        match strength {
            KeyStrengthName::Software => Self::Software,
            KeyStrengthName::Hardware => Self::Hardware,
            KeyStrengthName::KeyGuard => Self::KeyGuard,
        }
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            host: HostKind::default(),
            certificate_life: 7.0 * 86_400.0,
            certificate_token_life: None,
            token_life: 3600.0,
            refresh_in: None,
            attestation_life: 8.0 * 3600.0,
            imds_cache: true,
            imds_cache_life: None,
            imds_rejects_bypass: false,
            imds_stuck: false,
            retries: true,
            capabilities: Vec::new(),
            store: None,
            key: KeyStrengthName::KeyGuard,
            persistent_key: false,
            no_attestation: false,
            no_date: false,
        }
    }
}

/// The services, their history and both clocks.
pub(super) struct TestHost {
    pub(super) setup: Setup,
    pub(super) start: Instant,
    jumped: Mutex<f64>,
    pub(super) history: Mutex<History>,
    pub(super) script: Mutex<Script>,
    pub(super) failing: Mutex<Option<Failing>>,
    pub(super) resource: Mutex<Resource>,
    /// The directory of the keys of Azure Arc, if it was used.
    arc_tokens: OnceLock<TempDir>,
}

/// Requests that the services received, and what they issued.
#[derive(Default)]
pub(super) struct History {
    pub(super) calls: Vec<Call>,
    pub(super) certificates: Vec<CertificateRecord>,
    pub(super) revoked: Vec<usize>,
    pub(super) tokens: Vec<TokenRecord>,
    pub(super) attestations: usize,
    /// The content of the last key file of Azure Arc.
    pub(super) arc_key: String,
    /// Tokens and attestation tokens, which must not be logged.
    pub(super) secrets: Vec<String>,
    /// The rules of the protocol that requests violated.
    pub(super) violations: Vec<String>,
}

/// Random failures.
pub(super) struct Failing {
    pub(super) source: fastrand::Rng,
    pub(super) imds: f64,
    pub(super) token: f64,
}

impl TestHost {
    pub(super) fn new(setup: Setup, script: Script) -> Arc<Self> {
        Arc::new(Self {
            setup,
            start: Instant::now(),
            jumped: Mutex::default(),
            history: Mutex::default(),
            script: Mutex::new(script),
            failing: Mutex::default(),
            resource: Mutex::default(),
            arc_tokens: OnceLock::new(),
        })
    }

    /// A builder of clients with this key provider, without a store.
    pub(super) fn client_builder(
        self: &Arc<Self>,
        keys: Arc<dyn KeyProvider>,
        seed: u64,
    ) -> ManagedIdentityClientBuilder {
        ManagedIdentityClient::builder()
            .environment(Environment::empty())
            .key_providers(ProviderChain::new(vec![keys]))
            .clock(Arc::clone(self) as _)
            .persistence(false)
            .simulated(Services(Arc::clone(self)), seed)
    }

    /// The time since the start.
    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The time on the services' clock.
    pub(super) fn true_time(&self) -> SystemTime {
        epoch() + self.elapsed()
    }

    /// Sets the host's clock forward or back.
    pub(super) fn jump(&self, seconds: f64) {
        *lock(&self.jumped) += seconds;
    }

    /// Checks a rule of the protocol. A violation is reported at the end: the client would catch a panic.
    pub(super) fn check(&self, holds: bool, rule: impl Display) {
        if !holds {
            lock(&self.history).violations.push(rule.to_string());
        }
    }

    pub(super) fn arc_tokens(&self) -> &Path {
        let directory = self.arc_tokens.get_or_init(|| tempfile::tempdir().unwrap());
        directory.path()
    }

    pub(super) fn record(&self, call: Call) {
        lock(&self.history).calls.push(call);
    }

    pub(super) fn calls(&self, leg: Leg) -> Vec<Call> {
        let history = lock(&self.history);
        history
            .calls
            .iter()
            .filter(|call| call.leg == leg)
            .cloned()
            .collect()
    }

    /// The number of the certificate with this thumbprint.
    pub(super) fn certificate_number(&self, thumbprint: &str) -> Option<usize> {
        let history = lock(&self.history);
        let position = history
            .certificates
            .iter()
            .position(|signed| signed.thumbprint == thumbprint);
        position.map(|position| position + 1)
    }

    /// The response to a request: a random failure, or the scripted response.
    pub(super) fn response(&self, request: &RequestContext<'_>) -> ScriptedResponse {
        let scripted = lock(&self.script).next(request, self.elapsed());
        if let Some(failing) = &mut *lock(&self.failing) {
            let probability = match request.leg {
                Leg::Token => failing.token,
                Leg::Metadata | Leg::Issue => failing.imds,
                Leg::Attest | Leg::Challenge | Leg::Source => 0.0,
            };
            if failing.source.f64() < probability {
                let status = [500, 503, 429, 404][failing.source.usize(..4)];
                return ScriptedResponse::status(status);
            }
        }
        scripted
    }

    /// Waits as long as the response takes, and returns it unless it is a success.
    pub(super) async fn respond(
        &self,
        response: &ScriptedResponse,
        timeout: Duration,
    ) -> Option<Reply> {
        if response.hang
            || response
                .after
                .is_some_and(|after| after > timeout.as_secs_f64())
        {
            tokio::time::sleep(timeout).await;
            return Some(Err(failure(TransportErrorKind::Timeout)));
        }
        if let Some(after) = response.after {
            tokio::time::sleep(Duration::from_secs_f64(after)).await;
        }
        if let Some(fault) = response.fault {
            let failure = failure(fault.into());
            return Some(Err(match fault {
                Fault::Connect | Fault::Closed | Fault::ClosedAfterCertificate => {
                    failure.with_connection_lost()
                }
                _ => failure,
            }));
        }
        let scripted_body = response.scripted_body();
        let status = response.status.unwrap_or(200);
        if status == 200 && scripted_body.is_none() {
            return None;
        }
        let mut headers = HeaderMap::new();
        if let Some(wait) = response.retry_after {
            headers.insert(http::header::RETRY_AFTER, wait.into());
        }
        if let Some(wait) = response.retry_after_date {
            let now = if response.dated {
                let date = httpdate::fmt_http_date(self.true_time());
                headers.insert(http::header::DATE, date.parse().unwrap());
                self.true_time()
            } else {
                self.now()
            };
            let date = httpdate::fmt_http_date(now + Duration::from_secs(wait));
            headers.insert(http::header::RETRY_AFTER, date.parse().unwrap());
        }
        Some(Ok(reply(
            status,
            headers,
            scripted_body.unwrap_or_default(),
        )))
    }
}

pub(super) type Reply = Result<Response<ResponseBody>, TransportError>;

pub(super) fn reply(status: u16, headers: HeaderMap, body: String) -> Response<ResponseBody> {
    let mut reply = Response::new(ResponseBody::full(body));
    *reply.status_mut() = http::StatusCode::from_u16(status).unwrap();
    *reply.headers_mut() = headers;
    reply
}

fn failure(kind: TransportErrorKind) -> TransportError {
    TransportError::new(kind, "scripted failure")
}

pub(super) fn request_id(head: &http::request::Parts) -> String {
    let id = head.headers.get("x-ms-client-request-id");
    id.and_then(|id| id.to_str().ok())
        .unwrap_or_default()
        .to_owned()
}

/// The parameters of a query or form.
pub(super) fn parameters(text: &[u8]) -> HashMap<String, String> {
    form_urlencoded::parse(text).into_owned().collect()
}

/// The host's clock.
impl Clock for TestHost {
    fn now(&self) -> SystemTime {
        let jumped = *lock(&self.jumped);
        let distance = Duration::from_secs_f64(jumped.abs());
        if jumped < 0.0 {
            self.true_time() - distance
        } else {
            self.true_time() + distance
        }
    }
}

/// The network of a simulated host.
#[derive(Clone, Debug)]
pub(super) struct Services(pub(super) Arc<TestHost>);

impl SimulatedNetwork for Services {
    fn send<'a>(
        &'a self,
        request: &'a mut Request<RequestBody>,
        route: Route<'a>,
        timeout: Duration,
    ) -> BoxFuture<'a, Reply> {
        Box::pin(async move {
            let (head, body) = read(request).await;
            match route {
                Route::Plain if is_v2(head.uri.path()) => self.0.imds(&head, &body, timeout).await,
                Route::Plain | Route::Pinned(_) => {
                    self.0.source(&head, &body, timeout, &route).await
                }
                Route::Entra(binding) => self.0.entra(binding, &head, &body, timeout).await,
                Route::Resource(_, reuse) => {
                    let at = self.0.elapsed();
                    // The latency of a resource.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    let mut resource = lock(&self.0.resource);
                    resource.respond(&head, &body, reuse, timeout, at)
                }
            }
        })
    }
}

async fn read(request: &mut Request<RequestBody>) -> (http::request::Parts, Vec<u8>) {
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

impl fmt::Debug for TestHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TestHost")
    }
}

/// A request for a bound token with any key.
pub(super) fn unattested(resource: &str) -> TokenRequest {
    let requirements = KeyRequirements::unattested().min_strength(KeyStrength::Software);
    TokenRequest::pop(resource, requirements)
}

/// The start time of every simulated host.
pub(super) fn epoch() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}
