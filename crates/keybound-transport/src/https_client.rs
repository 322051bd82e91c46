use crate::connection::Connection;
use crate::connection_info::ConnectionUse;
use crate::engine::Engine;
use crate::exchange::{deadline, into_response, send_on_new, timed_out};
use crate::origin::Origin;
use crate::outgoing_request::{is_idempotent, outgoing_request};
use crate::pool::{OriginPool, Pool};
use crate::route::Route;
use crate::runtime_thread::{RuntimeHandle, RuntimeThread};
use crate::send_error::SendError;
use crate::{
    ClientIdentity, ProxyConfig, RequestBody, ResponseBody, TlsEngine, TransportError,
    TransportErrorKind, TrustAnchors, VersionPolicy,
};
use http::{Request, Response};
use keybound_core::Sha1Thumbprint;
use keybound_keys::SigningCost;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// An HTTPS/1.1 client whose connections all present the same certificate. Clones share the pool.
///
/// It is used within a tokio runtime with time and I/O enabled. Connections are driven on that runtime; if the key is
/// [slow](SigningCost::Slow), on a thread that ends when the client and its responses are dropped.
#[derive(Clone)]
pub struct HttpsClient(Arc<Inner>);

/// Settings of an [`HttpsClient`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "callers set its fields")]
pub struct HttpsSettings {
    /// The trust anchors for server certificates. Default: the system's.
    pub trust: TrustAnchors,
    /// TLS versions by host. Default: [`VersionPolicy::default`].
    pub versions: VersionPolicy,
    /// The TLS library. Default: [`TlsEngine::Automatic`].
    pub engine: TlsEngine,
    /// The proxy. Default: none.
    pub proxy: ProxyConfig,
    /// How long an idle connection remains in the pool. Default: 30 s; with zero, connections are not reused.
    pub idle_timeout: Duration,
}

impl Default for HttpsSettings {
    fn default() -> Self {
        Self {
            trust: TrustAnchors::default(),
            versions: VersionPolicy::default(),
            engine: TlsEngine::default(),
            proxy: ProxyConfig::default(),
            idle_timeout: Duration::from_secs(30),
        }
    }
}

struct Inner {
    // Dropped before the thread, so that connections are closed with close_notify.
    pool: Pool,
    engine: Arc<Engine>,
    /// Drives the connections if signatures or the engine would block the caller's event loop.
    thread: Option<RuntimeThread>,
    identity: Option<ClientIdentity>,
    /// The only certificate that servers may present, instead of the trust anchors of the settings.
    pinned: Option<Sha1Thumbprint>,
    settings: HttpsSettings,
}

impl HttpsClient {
    /// A client that presents the certificate of the identity, if any, whenever a server requests it. Opens no connection
    /// and signs nothing.
    ///
    /// # Errors
    /// [`HostUnsupported`](TransportErrorKind::HostUnsupported) if the host's TLS configuration does not allow the key,
    /// or the [engine](TlsEngine) is not available or does not support the settings; [`Key`](TransportErrorKind::Key) if
    /// Windows cannot open the key.
    pub fn new(
        identity: Option<ClientIdentity>,
        settings: HttpsSettings,
    ) -> Result<Self, TransportError> {
        let engine = Engine::new(settings.engine, identity.as_ref(), &settings.trust)?;
        Ok(Self::with_engine(engine, identity, None, settings))
    }

    /// A client without a certificate for a server that presents exactly one certificate, named by its SHA-1 thumbprint, as the
    /// managed identity endpoint of Service Fabric does. Connections are never made through a proxy. Opens no connection.
    ///
    /// The server proves in the handshake that it has the certificate's key. Its issuers, its usage, its validity and the host name
    /// are not checked: it may be self-signed or expired. No trust anchor replaces it, and a certificate that it has issued is not
    /// accepted.
    ///
    /// # Errors
    /// [`HostUnsupported`](TransportErrorKind::HostUnsupported) where the host's TLS configuration does not allow TLS, or the
    /// [engine](TlsEngine) is not available.
    pub fn pinned(certificate: Sha1Thumbprint, engine: TlsEngine) -> Result<Self, TransportError> {
        let settings = HttpsSettings {
            engine,
            ..HttpsSettings::default()
        };
        let engine = Engine::pinned(engine, certificate)?;
        Ok(Self::with_engine(engine, None, Some(certificate), settings))
    }

    fn with_engine(
        engine: Engine,
        identity: Option<ClientIdentity>,
        pinned: Option<Sha1Thumbprint>,
        settings: HttpsSettings,
    ) -> Self {
        let slow_key = identity
            .as_ref()
            .is_some_and(|identity| identity.key().signing_cost() == SigningCost::Slow);
        let thread =
            (slow_key || engine.may_block()).then(|| RuntimeThread::new("keybound-transport"));
        Self(Arc::new(Inner {
            pool: Pool::new(settings.idle_timeout),
            engine: Arc::new(engine),
            thread,
            identity,
            pinned,
            settings,
        }))
    }

    /// Sends a request with an absolute https URI. Redirects are returned, not followed. The timeout covers everything up to
    /// the head of the response, and reading the body. Dropping the future cancels the request and closes the connection.
    ///
    /// A request is sent once, with two exceptions. If a reused connection was closed before any of the request was
    /// written, the request is sent on another. If a reused connection ends without a byte of a response, as after a
    /// restart or the idle timeout of the server, a request of a safe method (GET, HEAD, OPTIONS, TRACE) or one with the
    /// extension [`Idempotent`](crate::Idempotent) is retried once, on a new connection;
    /// [`ConnectionInfo::retried`](crate::ConnectionInfo::retried) is then set. Any other request, and every
    /// [stream](RequestBody::stream), fails instead: the server may have acted on it.
    ///
    /// # Errors
    /// See [`TransportErrorKind`].
    pub async fn send(
        &self,
        mut request: Request<RequestBody>,
        timeout: Duration,
    ) -> Result<Response<ResponseBody>, TransportError> {
        self.send_with(&mut request, timeout, ConnectionReuse::Allowed)
            .await
    }

    /// Like [`send`](Self::send), for a request that the caller may send again, and with a choice whether an idle connection is
    /// reused. A stream is moved out of the request: [`RequestBody::can_be_sent`] is false then. Sets the header `Host` of the
    /// request, and removes `Content-Length` and `Transfer-Encoding`, which the body determines.
    ///
    /// # Errors
    /// See [`TransportErrorKind`].
    pub async fn send_with(
        &self,
        request: &mut Request<RequestBody>,
        timeout: Duration,
        reuse: ConnectionReuse,
    ) -> Result<Response<ResponseBody>, TransportError> {
        let origin = self.0.pool.origin(request.uri())?;
        let runtime = self.runtime()?;
        let deadline = deadline(timeout);
        let exchange = self.exchange(&origin, request, runtime, deadline, reuse);
        exchange.await.map_err(|error| match error {
            SendError::NotSent(_, error)
            | SendError::NoResponse(error)
            | SendError::Failed(error) => error,
            SendError::TimedOut => {
                let proxy = self.0.settings.proxy.for_origin(&origin.origin);
                let proxy = proxy.ok().flatten().map(|proxy| proxy.name());
                timed_out(&origin.origin, proxy)
            }
        })
    }

    /// The runtime that drives the connections.
    fn runtime(&self) -> Result<RuntimeHandle, TransportError> {
        let caller = RuntimeHandle::current()?;
        match &self.0.thread {
            None => Ok(caller),
            Some(thread) => thread.handle().map_err(|error| {
                TransportError::new(
                    TransportErrorKind::Connect,
                    "the thread for connections with a slow key could not be started",
                )
                .with_source(error)
            }),
        }
    }

    async fn exchange(
        &self,
        origin: &Arc<OriginPool>,
        request: &mut Request<RequestBody>,
        runtime: RuntimeHandle,
        deadline: Instant,
        reuse: ConnectionReuse,
    ) -> Result<Response<ResponseBody>, SendError> {
        // A large body blocks while the server requests the certificate.
        let authenticated = request.body().may_exceed(SMALL_BODY);
        let retry_safe = is_idempotent(request) && request.body().can_be_copied();
        let mut outgoing = outgoing_request(request, &origin.host).map_err(SendError::Failed)?;
        let mut connection_use = ConnectionUse::New;
        let mut has_yielded = false;
        while reuse == ConnectionReuse::Allowed
            && let Some((mut connection, idle_for)) =
                origin.take(runtime.handle().id(), authenticated)
        {
            connection.set_deadline(deadline);
            if !(has_yielded || retry_safe && idle_for < SHORT_IDLE) {
                // Runs the tasks of idle connections, which detect those that their servers have closed.
                tokio::task::yield_now().await;
                has_yielded = true;
            }
            if !connection.is_ready().await? {
                continue;
            }
            let error = match connection.send(outgoing).await {
                Ok(response) => {
                    return Ok(into_response(connection, response, ConnectionUse::Reused));
                }
                Err(SendError::NotSent(body, error)) => {
                    if let Some(body) = body {
                        *request.body_mut() = body;
                    }
                    error
                }
                Err(SendError::NoResponse(error)) if retry_safe => {
                    tracing::debug!(%error, "a reused connection ended without a response; retrying the request");
                    connection_use = ConnectionUse::Retried;
                    error
                }
                Err(error) => return Err(error),
            };
            // Fails for a stream that hyper did not return.
            outgoing =
                outgoing_request(request, &origin.host).map_err(|_| SendError::Failed(error))?;
            if connection_use == ConnectionUse::Retried {
                // The server has most likely closed the other idle connections too.
                break;
            }
        }
        // Boxed: its state is large, and only new connections need it.
        Box::pin(self.send_on_new(origin, outgoing, runtime, deadline, connection_use)).await
    }

    async fn send_on_new(
        &self,
        origin: &Arc<OriginPool>,
        outgoing: Request<RequestBody>,
        runtime: RuntimeHandle,
        deadline: Instant,
        connection_use: ConnectionUse,
    ) -> Result<Response<ResponseBody>, SendError> {
        let connecting = timeout_at(deadline, self.connect(&origin.origin, runtime, deadline));
        let connected = connecting.await.map_err(|_| SendError::TimedOut)?;
        let proxy = &self.0.settings.proxy;
        let mut connection =
            connected.map_err(|error| SendError::Failed(proxy.explain(&origin.origin, error)))?;
        connection.set_pool(origin);
        send_on_new(connection, outgoing, deadline, connection_use).await
    }

    async fn connect(
        &self,
        origin: &Origin,
        runtime: RuntimeHandle,
        deadline: Instant,
    ) -> Result<Box<Connection>, TransportError> {
        let Inner {
            engine, settings, ..
        } = &*self.0;
        let versions = settings.versions.for_host(&origin.host);
        let route = Route {
            proxy: settings.proxy.for_origin(origin)?.cloned(),
            origin: origin.clone(),
            deadline,
        };
        let connecting = route.connect_tls(Arc::clone(engine), versions, runtime.clone());
        if runtime.is_on_thread() {
            spawn_on(&runtime, connecting).await
        } else {
            connecting.await
        }
    }
}

impl fmt::Debug for HttpsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpsClient")
            .field("identity", &self.0.identity)
            .field("pinned", &self.0.pinned)
            .field("settings", &self.0.settings)
            .finish()
    }
}

/// Whether a request may be sent on an idle connection of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "yes or no")]
pub enum ConnectionReuse {
    /// On an idle connection, if there is one.
    Allowed,
    /// On a new connection only.
    Never,
}

/// Connects on a runtime. Dropping the future aborts the task.
async fn spawn_on(
    runtime: &RuntimeHandle,
    connecting: impl Future<Output = Result<Box<Connection>, TransportError>> + Send + 'static,
) -> Result<Box<Connection>, TransportError> {
    let mut tasks = JoinSet::new();
    tasks.spawn_on(connecting, runtime.handle());
    let failed = || {
        TransportError::new(
            TransportErrorKind::Connect,
            "the thread for connections with a slow key has ended",
        )
    };
    let joined = tasks.join_next().await.transpose();
    let connected = joined.map_err(|error| failed().with_source(error))?;
    connected.unwrap_or_else(|| Err(failed()))
}

/// Bodies up to this size fit the buffers of a server while it requests the certificate; in bytes.
const SMALL_BODY: u64 = 16 * 1024;
/// A connection that was idle for less is not checked before a request that can be retried.
const SHORT_IDLE: Duration = Duration::from_millis(20);
