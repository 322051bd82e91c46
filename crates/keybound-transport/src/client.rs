use crate::connect::Route;
use crate::connection::{Connection, Unanswered, run_in};
use crate::driver::Driver;
use crate::engine::{Engine, openssl};
use crate::pool::{Pool, PoolKey};
use crate::spare::changes_nothing;
use crate::target::{Target, prepare};
use crate::{
    ClientIdentity, ProxyConfig, RequestBody, ResponseBody, TlsEngine, TransportError,
    TransportErrorKind, TrustAnchors, VersionPolicy,
};
use http::uri::Scheme;
use http::{Request, Response};
use hyper::body::Incoming;
use keybound_keys::SigningCost;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Settings of an [`HttpsClient`].
#[derive(Debug)]
pub struct HttpsClientBuilder {
    identity: Option<ClientIdentity>,
    trust: TrustAnchors,
    versions: VersionPolicy,
    proxy: ProxyConfig,
    idle_timeout: Duration,
    engine: TlsEngine,
}

impl HttpsClientBuilder {
    /// The certificate and key that every connection presents when asked. Default: none.
    #[must_use]
    pub fn identity(mut self, identity: ClientIdentity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Which server certificates are trusted. Default: the system's.
    #[must_use]
    pub fn trust(mut self, trust: TrustAnchors) -> Self {
        self.trust = trust;
        self
    }

    /// TLS versions by host. Default: [`VersionPolicy::default`].
    #[must_use]
    pub fn versions(mut self, versions: VersionPolicy) -> Self {
        self.versions = versions;
        self
    }

    /// The way through proxies. Default: none.
    #[must_use]
    pub fn proxy(mut self, proxy: ProxyConfig) -> Self {
        self.proxy = proxy;
        self
    }

    /// How long an unused connection is kept. Default: 30 s. With zero, none is.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// The TLS library. Default: [`TlsEngine::Automatic`].
    #[must_use]
    pub fn engine(mut self, engine: TlsEngine) -> Self {
        self.engine = engine;
        self
    }

    /// Makes the client. No connection is opened yet and the key is not asked for a signature.
    ///
    /// # Errors
    /// [`HostUnsupported`](TransportErrorKind::HostUnsupported) where the host's TLS configuration does not let the key be
    /// used, or the [engine](TlsEngine) is not there or cannot do what is asked; [`Key`](TransportErrorKind::Key) where
    /// Windows does not open the key.
    pub fn build(self) -> Result<HttpsClient, TransportError> {
        let engine = Engine::new(self.engine, self.identity.as_ref(), &self.trust)?;
        let slow_key = self
            .identity
            .as_ref()
            .is_some_and(|identity| identity.key().signing_cost() == SigningCost::Slow);
        Ok(HttpsClient(Arc::new(Inner {
            pool: Pool::new(self.idle_timeout),
            driver: Driver::new(slow_key || engine.is_slow()),
            engine: Arc::new(engine),
            settings: self,
        })))
    }
}

/// An HTTPS/1.1 client whose connections all present one certificate. Cloning shares the pool.
///
/// It is used within a tokio runtime with time and I/O enabled. Connections are driven on that runtime; where the key is
/// [slow](SigningCost::Slow), on a thread that ends with the client and the answers it gave.
#[derive(Clone)]
pub struct HttpsClient(Arc<Inner>);

struct Inner {
    // The pool goes before the driver, so that its connections end with a word to their peers.
    pool: Arc<Pool>,
    engine: Arc<Engine>,
    driver: Driver,
    settings: HttpsClientBuilder,
}

impl HttpsClient {
    /// Starts with the defaults.
    pub fn builder() -> HttpsClientBuilder {
        HttpsClientBuilder {
            identity: None,
            trust: TrustAnchors::default(),
            versions: VersionPolicy::default(),
            proxy: ProxyConfig::default(),
            idle_timeout: Duration::from_secs(30),
            engine: TlsEngine::default(),
        }
    }

    /// Sends a request with an absolute https URI. The answer's extensions hold a [`ConnectionInfo`]. Redirects are
    /// returned, not followed. `timeout` covers everything up to the head of the answer and, where the body is read
    /// with it, the body too. Dropping the future gives up and closes the connection.
    ///
    /// A request goes out once, with two exceptions. Where a kept connection turns out to be closed before any of the
    /// request was written, it is sent on another. Where a kept connection ends without a byte of an answer, which is
    /// what a server's restart or the end of its patience looks like, a request of a safe method (GET, HEAD, OPTIONS,
    /// TRACE) or one with [`ChangesNothing`](crate::ChangesNothing) among its extensions is sent once more, on a new
    /// connection; [`ConnectionInfo::repeated`] tells. Any other request, and every
    /// [stream](RequestBody::stream), fails instead: it may have been acted on.
    ///
    /// # Errors
    /// See [`TransportErrorKind`].
    pub async fn send(
        &self,
        request: Request<RequestBody>,
        timeout: Duration,
    ) -> Result<Response<ResponseBody>, TransportError> {
        self.send_over(request, timeout, Kept::MayServe).await
    }

    /// As [`send`](Self::send), on a connection that is opened for it.
    ///
    /// # Errors
    /// See [`TransportErrorKind`].
    pub async fn send_anew(
        &self,
        request: Request<RequestBody>,
        timeout: Duration,
    ) -> Result<Response<ResponseBody>, TransportError> {
        self.send_over(request, timeout, Kept::Unwanted).await
    }

    async fn send_over(
        &self,
        request: Request<RequestBody>,
        timeout: Duration,
        kept: Kept,
    ) -> Result<Response<ResponseBody>, TransportError> {
        let (target, request) = prepare(request, &Scheme::HTTPS)?;
        let place = self.0.driver.place()?;
        let deadline = deadline(timeout);
        let key = PoolKey {
            target,
            runtime: place.handle().id(),
        };
        let exchange = self.exchange(&key, request, place, deadline, kept);
        match timeout_at(deadline, exchange).await {
            Ok(answer) => answer,
            Err(elapsed) => {
                let proxy = self.0.settings.proxy.for_target(&key.target);
                let proxy = proxy.ok().flatten().map(|proxy| proxy.name());
                Err(timed_out(&key.target, proxy).with_source(elapsed))
            }
        }
    }

    async fn exchange(
        &self,
        key: &PoolKey,
        mut request: Request<RequestBody>,
        place: crate::driver::Place,
        deadline: Instant,
        kept: Kept,
    ) -> Result<Response<ResponseBody>, TransportError> {
        let pool = &self.0.pool;
        // A large body does not pass while the server stops to ask for the certificate.
        let authenticated = request.body().may_exceed(SMALL_BODY);
        let forgiving = changes_nothing(&request) && request.body().again().is_some();
        let mut has_looked = false;
        let mut way = Way::New;
        while kept == Kept::MayServe
            && let Some((mut connection, rested)) = pool.take(key, authenticated)
        {
            if !(has_looked || forgiving && rested < SHORT_REST) {
                // Lets the drivers of kept connections notice which of them their servers have closed.
                tokio::task::yield_now().await;
                has_looked = true;
            }
            if !connection.is_ready().await {
                continue;
            }
            match connection.send(request).await {
                Ok(response) => return Ok(answer(connection, response, deadline, Way::Kept)),
                Err(Unanswered::Unsent(unsent)) => request = *unsent,
                Err(Unanswered::Repeatable(unanswered)) => {
                    tracing::debug!(
                        peer = %key.target.name(),
                        "a kept connection ended without an answer: the request is sent once more"
                    );
                    request = *unanswered;
                    way = Way::Again;
                    // The others at rest have most likely met the same end.
                    break;
                }
                Err(Unanswered::Failed(error)) => return Err(error),
            }
        }
        let connected = self.connect(key, place, deadline).await;
        let proxy = &self.0.settings.proxy;
        let mut connection = connected.map_err(|error| proxy.explain(&key.target, error))?;
        match connection.send(request).await {
            Ok(response) => Ok(answer(connection, response, deadline, way)),
            Err(Unanswered::Failed(error)) => Err(error),
            Err(Unanswered::Unsent(_) | Unanswered::Repeatable(_)) => Err(TransportError::new(
                TransportErrorKind::Connect,
                format!("{} closed the connection at once", key.target.name()),
            )
            .with_connection_lost()),
        }
    }

    async fn connect(
        &self,
        key: &PoolKey,
        place: crate::driver::Place,
        deadline: Instant,
    ) -> Result<Connection, TransportError> {
        let Inner {
            engine, settings, ..
        } = &*self.0;
        let target = key.target.clone();
        let versions = settings.versions.for_host(&target.host.to_string());
        let route = Route {
            proxy: settings.proxy.for_target(&target)?.cloned(),
            target,
            deadline,
        };
        let work = route.connect_tls(Arc::clone(engine), versions, place.clone());
        let connection = if place.is_apart() {
            run_in(&place, work).await.map_err(|error| {
                TransportError::new(
                    TransportErrorKind::Connect,
                    "the thread for connections with a slow key has ended",
                )
                .with_source(error)
            })??
        } else {
            work.await?
        };
        Ok(connection.with_home(&self.0.pool, key.clone()))
    }
}

/// Whether a kept connection will do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    MayServe,
    Unwanted,
}

impl fmt::Debug for HttpsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpsClient")
            .field(&self.0.settings)
            .finish()
    }
}

/// What is known of the connection that an answer came on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// The TLS library, [`OpenSsl`](TlsEngine::OpenSsl) or [`SChannel`](TlsEngine::SChannel).
    pub tls_engine: TlsEngine,
    /// `TLSv1.2` or `TLSv1.3`.
    pub tls_version: &'static str,
    /// Whether the server has asked for the client certificate on this connection, up to this answer.
    pub certificate_requested: bool,
    /// Whether the connection had carried a request before.
    pub reused: bool,
    /// Whether the request went out before, on a kept connection that ended without a byte of an answer. The server may
    /// have received it twice. Of safe methods only; see [`HttpsClient::send`].
    pub repeated: bool,
}

/// How a request came to its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// On a connection made for it.
    New,
    /// On a kept connection.
    Kept,
    /// On a connection made for it, after a kept one had ended under it.
    Again,
}

/// The point in time at which the caller's patience ends.
pub(crate) fn deadline(timeout: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(timeout).unwrap_or(now + A_LONG_TIME)
}

/// A proxy on the way is named: it may be what did not answer.
pub(crate) fn timed_out(target: &Target, proxy: Option<String>) -> TransportError {
    let mut message = format!("{} did not answer within the time given", target.name());
    if let Some(proxy) = proxy {
        message.push_str(", through ");
        message.push_str(&proxy);
    }
    TransportError::new(TransportErrorKind::Timeout, message)
}

/// The answer as the caller gets it.
pub(crate) fn answer(
    mut connection: Connection,
    response: Response<Incoming>,
    deadline: Instant,
    way: Way,
) -> Response<ResponseBody> {
    let (mut parts, incoming) = response.into_parts();
    if let Some(notes) = &connection.peer().notes {
        parts.extensions.insert(ConnectionInfo {
            tls_engine: notes.engine(),
            tls_version: notes.version(),
            certificate_requested: notes.certificate_requested(),
            reused: way == Way::Kept,
            repeated: way == Way::Again,
        });
        if notes.has_identity() && !notes.certificate_requested() && is_refusal(&parts) {
            connection.retire();
        }
    }
    Response::from_parts(parts, ResponseBody::new(incoming, connection, deadline))
}

/// Whether the server may have refused for want of the certificate. On a new connection it may ask for it.
fn is_refusal(parts: &http::response::Parts) -> bool {
    matches!(parts.status.as_u16(), 401 | 403 | 413)
}

/// Makes ready what every client of the process shares: the private OpenSSL context and the system's trust anchors, which
/// take some tens of milliseconds to read. SChannel needs none of it. It blocks; call it off the event loop, before the first client is built or
/// while something else is waited for. Not calling it is no fault.
pub fn warm_up() {
    openssl::warm_up();
}

/// Bodies up to this size pass any server's buffer while it asks for the certificate; in bytes.
const SMALL_BODY: u64 = 16 * 1024;
/// A connection that rested for less is not looked at again before a request that can be sent once more.
const SHORT_REST: Duration = Duration::from_millis(20);
const A_LONG_TIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);
