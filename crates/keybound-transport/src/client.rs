use crate::connect::Route;
use crate::connection::{Connection, SendError, run_in};
use crate::driver::Driver;
use crate::engine::{Engine, openssl};
use crate::pool::{Pool, PoolKey};
use crate::replayable_request::is_idempotent;
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

    /// How long an idle connection stays in the pool. Default: 30 s. With zero, none does.
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
    // The pool is dropped before the driver, so that its connections are closed with close_notify.
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
    /// A request is sent once, with two exceptions. Where a reused connection was closed before any of the request was
    /// written, the request is sent on another. Where a reused connection ends without a byte of a response, as after a
    /// restart or the idle timeout of the server, a request of a safe method (GET, HEAD, OPTIONS, TRACE) or one with the
    /// extension [`Idempotent`](crate::Idempotent) is retried once, on a new connection;
    /// [`ConnectionInfo::repeated`] is then set. Any other request, and every [stream](RequestBody::stream), fails
    /// instead: the server may have acted on it.
    ///
    /// # Errors
    /// See [`TransportErrorKind`].
    pub async fn send(
        &self,
        request: Request<RequestBody>,
        timeout: Duration,
    ) -> Result<Response<ResponseBody>, TransportError> {
        self.send_with(request, timeout, ConnectionReuse::Allowed)
            .await
    }

    /// As [`send`](Self::send), on an idle connection of the pool or on a new one only.
    ///
    /// # Errors
    /// See [`TransportErrorKind`].
    pub async fn send_with(
        &self,
        request: Request<RequestBody>,
        timeout: Duration,
        reuse: ConnectionReuse,
    ) -> Result<Response<ResponseBody>, TransportError> {
        let (target, request) = prepare(request, &Scheme::HTTPS)?;
        let place = self.0.driver.place()?;
        let deadline = deadline(timeout);
        let key = PoolKey {
            target,
            runtime: place.handle().id(),
        };
        let exchange = self.exchange(&key, request, place, deadline, reuse);
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
        reuse: ConnectionReuse,
    ) -> Result<Response<ResponseBody>, TransportError> {
        let pool = &self.0.pool;
        // A large body blocks while the server requests the certificate.
        let authenticated = request.body().may_exceed(SMALL_BODY);
        let retry_safe = is_idempotent(&request) && request.body().try_clone().is_some();
        let mut has_yielded = false;
        let mut used = ConnectionUse::New;
        while reuse == ConnectionReuse::Allowed
            && let Some((mut connection, idle_for)) = pool.take(key, authenticated)
        {
            if !(has_yielded || retry_safe && idle_for < SHORT_IDLE) {
                // Lets the tasks of idle connections see which of them their servers have closed.
                tokio::task::yield_now().await;
                has_yielded = true;
            }
            if !connection.is_ready().await {
                continue;
            }
            match connection.send(request).await {
                Ok(response) => {
                    return Ok(answer(
                        connection,
                        response,
                        deadline,
                        ConnectionUse::Reused,
                    ));
                }
                Err(SendError::NotSent(unsent)) => request = *unsent,
                Err(SendError::SafeToRetry(unanswered)) => {
                    tracing::debug!(
                        peer = %key.target.name(),
                        "a reused connection ended without a response; retrying the request"
                    );
                    request = *unanswered;
                    used = ConnectionUse::Retried;
                    // The server has most likely closed the other idle connections too.
                    break;
                }
                Err(SendError::Failed(error)) => return Err(error),
            }
        }
        let connected = self.connect(key, place, deadline).await;
        let proxy = &self.0.settings.proxy;
        let mut connection = connected.map_err(|error| proxy.explain(&key.target, error))?;
        match connection.send(request).await {
            Ok(response) => Ok(answer(connection, response, deadline, used)),
            Err(SendError::Failed(error)) => Err(error),
            Err(SendError::NotSent(_) | SendError::SafeToRetry(_)) => Err(TransportError::new(
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
        let versions = settings.versions.for_host(&target.host);
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

/// Whether a request may be sent on an idle connection of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "yes or no")]
pub enum ConnectionReuse {
    /// On an idle connection, where there is one.
    Allowed,
    /// On a new connection only.
    Never,
}

impl fmt::Debug for HttpsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpsClient")
            .field(&self.0.settings)
            .finish()
    }
}

/// The connection on which a request was answered.
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
    /// Whether the request was retried, after a reused connection ended without a byte of a response. The server may have
    /// received it twice. Idempotent requests only; see [`HttpsClient::send`].
    pub repeated: bool,
}

/// The connection on which a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionUse {
    /// A new one.
    New,
    /// One of the pool.
    Reused,
    /// A new one, after one of the pool had ended without a response.
    Retried,
}

/// The time at which the timeout ends.
pub(crate) fn deadline(timeout: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(timeout).unwrap_or(now + MAX_TIMEOUT)
}

/// Names the proxy, where there is one: it may not have answered.
pub(crate) fn timed_out(target: &Target, proxy: Option<String>) -> TransportError {
    let mut message = format!("{} did not answer within the time given", target.name());
    if let Some(proxy) = proxy {
        message.push_str(", through ");
        message.push_str(&proxy);
    }
    TransportError::new(TransportErrorKind::Timeout, message)
}

/// The response that the caller gets.
pub(crate) fn answer(
    mut connection: Connection,
    response: Response<Incoming>,
    deadline: Instant,
    used: ConnectionUse,
) -> Response<ResponseBody> {
    let (mut parts, incoming) = response.into_parts();
    if let Some(state) = &connection.peer().state {
        parts.extensions.insert(ConnectionInfo {
            tls_engine: state.engine(),
            tls_version: state.version(),
            certificate_requested: state.certificate_requested(),
            reused: used == ConnectionUse::Reused,
            repeated: used == ConnectionUse::Retried,
        });
        if state.has_identity() && !state.certificate_requested() && is_refusal(&parts) {
            connection.retire();
        }
    }
    Response::from_parts(parts, ResponseBody::new(incoming, connection, deadline))
}

/// Whether the server may have refused because the certificate is missing. On a new connection it may request it.
fn is_refusal(parts: &http::response::Parts) -> bool {
    matches!(parts.status.as_u16(), 401 | 403 | 413)
}

/// Makes ready what every client of the process shares: the private OpenSSL context and the system's trust anchors, which
/// take some tens of milliseconds to read. SChannel needs none of it. It blocks; call it off the event loop, before the first client is built or
/// while something else is waited for. Not calling it is no fault.
pub fn warm_up() {
    openssl::warm_up();
}

/// Bodies up to this size fit any server's buffer while it requests the certificate; in bytes.
const SMALL_BODY: u64 = 16 * 1024;
/// A connection that was idle for less is not checked before a request that can be retried.
const SHORT_IDLE: Duration = Duration::from_millis(20);
const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);
