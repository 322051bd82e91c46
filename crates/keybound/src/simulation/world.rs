//! What the services know and have seen, and the two clocks: theirs, and the host's, which can be put wrong.
use super::resource::Resource;
use super::script::{Answering, Fault, Outcome, Script};
use crate::Clock;
use crate::wire::{Route, Wire};
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt as _;
use keybound_core::{KeyStrength, lock};
use keybound_transport::{RequestBody, ResponseBody, TransportError, TransportErrorKind};
use serde::Deserialize;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// The legs of the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Leg {
    Metadata,
    Issue,
    Attest,
    Token,
}

/// One request that a service saw.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) leg: Leg,
    pub(super) at: Duration,
    pub(super) bypass: bool,
    pub(super) claims: Option<String>,
    pub(super) attestation: Option<String>,
    /// `x-ms-client-request-id`.
    pub(super) request_id: String,
}

/// A certificate that IMDS signed. They are numbered from 1.
#[derive(Clone)]
pub(super) struct Signed {
    pub(super) der: Vec<u8>,
    pub(super) thumbprint: String,
    pub(super) holder: (String, Vec<u8>, bool),
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
    pub(super) token_not_after: Option<SystemTime>,
}

/// A token that Entra issued. They are numbered from 1.
#[derive(Clone, Debug)]
pub(super) struct Issued {
    pub(super) resource: String,
    pub(super) certificate: usize,
    pub(super) expires: SystemTime,
}

/// How the world is set up.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Setup {
    pub(super) certificate_life: f64,
    /// From its beginning to its `token_not_after`; without it, certificates have none.
    pub(super) certificate_token_life: Option<f64>,
    pub(super) token_life: f64,
    pub(super) refresh_in: Option<f64>,
    pub(super) attestation_life: f64,
    /// Whether IMDS answers the same certificate in the first half of its life, as the real one does.
    pub(super) imds_cache: bool,
    /// Or for so many seconds of its life.
    pub(super) imds_cache_life: Option<f64>,
    /// Whether it answers 400 to `bypass_cache`.
    pub(super) imds_refuses_bypass: bool,
    /// Whether it answers the same certificate whatever is asked of it.
    pub(super) imds_stuck: bool,
    pub(super) retries: bool,
    pub(super) capabilities: Vec<String>,
    pub(super) store: Option<super::store::Manner>,
    pub(super) key: KeyStrength2,
    pub(super) persistent_key: bool,
    pub(super) no_attestation: bool,
    /// Entra's answers have no `Date`.
    pub(super) no_date: bool,
}

/// As [`KeyStrength`], in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum KeyStrength2 {
    Software,
    Hardware,
    KeyGuard,
}

impl From<KeyStrength2> for KeyStrength {
    fn from(strength: KeyStrength2) -> Self {
        match strength {
            KeyStrength2::Software => Self::Software,
            KeyStrength2::Hardware => Self::Hardware,
            KeyStrength2::KeyGuard => Self::KeyGuard,
        }
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            certificate_life: 7.0 * 86_400.0,
            certificate_token_life: None,
            token_life: 3600.0,
            refresh_in: None,
            attestation_life: 8.0 * 3600.0,
            imds_cache: true,
            imds_cache_life: None,
            imds_refuses_bypass: false,
            imds_stuck: false,
            retries: true,
            capabilities: Vec::new(),
            store: None,
            key: KeyStrength2::KeyGuard,
            persistent_key: false,
            no_attestation: false,
            no_date: false,
        }
    }
}

/// The services and what they have seen.
pub(super) struct World {
    pub(super) setup: Setup,
    pub(super) start: Instant,
    jumped: Mutex<f64>,
    pub(super) seen: Mutex<Seen>,
    pub(super) script: Mutex<Script>,
    pub(super) failing: Mutex<Option<Failing>>,
    pub(super) resource: Mutex<Resource>,
}

/// What the services have seen and answered.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) calls: Vec<Call>,
    pub(super) certificates: Vec<Signed>,
    pub(super) revoked: Vec<usize>,
    pub(super) tokens: Vec<Issued>,
    pub(super) attestations: usize,
    /// What nobody but its receiver may see: tokens and attestations.
    pub(super) secrets: Vec<String>,
    pub(super) wrong: Vec<String>,
}

/// Failures by chance.
pub(super) struct Failing {
    pub(super) source: fastrand::Rng,
    pub(super) imds: f64,
    pub(super) token: f64,
}

impl World {
    pub(super) fn new(setup: Setup, script: Script) -> Arc<Self> {
        Arc::new(Self {
            setup,
            start: Instant::now(),
            jumped: Mutex::default(),
            seen: Mutex::default(),
            script: Mutex::new(script),
            failing: Mutex::default(),
            resource: Mutex::default(),
        })
    }

    /// The time that went by.
    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The time by the clock of the services.
    pub(super) fn true_time(&self) -> SystemTime {
        epoch() + self.elapsed()
    }

    /// Puts the host's clock forward, or back.
    pub(super) fn jump(&self, seconds: f64) {
        *lock(&self.jumped) += seconds;
    }

    /// A rule of the protocol that a request broke: reported at the end, as a panic within the client would be caught.
    pub(super) fn check(&self, holds: bool, rule: impl FnOnce() -> String) {
        if !holds {
            let rule = rule();
            lock(&self.seen).wrong.push(rule);
        }
    }

    pub(super) fn record(&self, call: Call) {
        lock(&self.seen).calls.push(call);
    }

    pub(super) fn calls(&self, leg: Leg) -> Vec<Call> {
        let seen = lock(&self.seen);
        seen.calls
            .iter()
            .filter(|call| call.leg == leg)
            .cloned()
            .collect()
    }

    /// The number of the certificate with this thumbprint.
    pub(super) fn certificate_number(&self, thumbprint: &str) -> Option<usize> {
        let seen = lock(&self.seen);
        let position = seen
            .certificates
            .iter()
            .position(|signed| signed.thumbprint == thumbprint);
        position.map(|position| position + 1)
    }

    /// What the script says to a request of a leg; and what chance says.
    pub(super) fn outcome(&self, asked: &Answering<'_>) -> Outcome {
        let scripted = lock(&self.script).next(asked, self.elapsed());
        if let Some(failing) = &mut *lock(&self.failing) {
            let likely = match asked.leg {
                Leg::Token => failing.token,
                Leg::Metadata | Leg::Issue => failing.imds,
                Leg::Attest => 0.0,
            };
            if failing.source.f64() < likely {
                let status = [500, 503, 429, 404][failing.source.usize(..4)];
                return Outcome::status(status);
            }
        }
        scripted
    }

    /// Lets the time of an outcome pass, and gives its failure, if it is one.
    pub(super) async fn play(&self, outcome: &Outcome, timeout: Duration) -> Option<Reply> {
        if outcome.hang
            || outcome
                .after
                .is_some_and(|after| after > timeout.as_secs_f64())
        {
            tokio::time::sleep(timeout).await;
            return Some(Err(failure(TransportErrorKind::Timeout)));
        }
        if let Some(after) = outcome.after {
            tokio::time::sleep(Duration::from_secs_f64(after)).await;
        }
        if let Some(fault) = outcome.fault {
            let failure = failure(fault.into());
            return Some(Err(match fault {
                Fault::Connect | Fault::Closed | Fault::ClosedAfterCertificate => {
                    failure.with_connection_lost()
                }
                _ => failure,
            }));
        }
        let own_body = outcome.own_body();
        let status = outcome.status.unwrap_or(200);
        if status == 200 && own_body.is_none() {
            return None;
        }
        let mut headers = HeaderMap::new();
        if let Some(wait) = outcome.retry_after {
            headers.insert(http::header::RETRY_AFTER, wait.into());
        }
        if let Some(wait) = outcome.retry_after_date {
            let now = if outcome.dated {
                let date = httpdate::fmt_http_date(self.true_time());
                headers.insert(http::header::DATE, date.parse().unwrap());
                self.true_time()
            } else {
                self.now()
            };
            let date = httpdate::fmt_http_date(now + Duration::from_secs(wait));
            headers.insert(http::header::RETRY_AFTER, date.parse().unwrap());
        }
        Some(Ok(reply(status, headers, own_body.unwrap_or_default())))
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
    TransportError::new(kind, "as the script says")
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
impl Clock for World {
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

/// The world as a network.
#[derive(Clone, Debug)]
pub(super) struct Services(pub(super) Arc<World>);

impl Wire for Services {
    fn send<'a>(
        &'a self,
        request: Request<RequestBody>,
        route: Route<'a>,
        timeout: Duration,
    ) -> BoxFuture<'a, Reply> {
        Box::pin(async move {
            let (head, body) = read(request).await;
            match route {
                Route::Imds => self.0.imds(&head, &body, timeout).await,
                Route::Entra(binding) => self.0.entra(binding, &head, &body, timeout).await,
                Route::Resource(_, reuse) => {
                    let at = self.0.elapsed();
                    // A resource is some way off.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    let mut resource = lock(&self.0.resource);
                    resource.answer(&head, &body, reuse, timeout, at)
                }
            }
        })
    }
}

async fn read(request: Request<RequestBody>) -> (http::request::Parts, Vec<u8>) {
    // A service is some way off: concurrent requests are sent before the first response arrives, also where all
    // work on other threads happens to be over at once.
    tokio::task::yield_now().await;
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head, body.to_vec())
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("World")
    }
}

/// When every world begins.
pub(super) fn epoch() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}
