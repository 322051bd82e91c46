use crate::admin::{self, ReloadAccess};
use crate::apis::{ExtendVerifier, cause};
use crate::body::Body;
use crate::listener::{CurrentTls, Listener, LoadedTls};
use crate::metrics::Metrics;
use crate::open_files;
use crate::reload_limit::ReloadLimit;
use crate::server::{Limit, Protocol, Server, Surplus};
use crate::{Apis, CheckService, Config, ConfigError, DecisionLog, Engine};
use http::{Request, Response};
use hyper::body::Incoming;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;

/// The daemon: it answers until it is stopped.
pub struct Daemon {
    reloader: Arc<Reloader>,
    checks: Server,
    admin: Vec<Server>,
    address: Option<SocketAddr>,
    admin_address: Option<SocketAddr>,
}

/// Reads the configuration again.
type Load = dyn Fn() -> Result<Config, ConfigError> + Send + Sync;

/// Why a new configuration was not loaded. The current one remains in use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// It is not usable.
    #[error("the configuration remains as it was: {0}")]
    Config(#[from] ConfigError),
    /// It differs in what cannot be changed.
    #[error("the configuration remains as it was: a change of [{0}] needs a restart")]
    NeedsRestart(&'static str),
    /// The issuers' keys could not be fetched.
    #[error("the configuration remains as it was: the keys for {0} could not be fetched")]
    KeysUnavailable(String),
}

/// Why the daemon cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is not usable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It cannot listen.
    #[error("cannot listen on {0}")]
    Listen(io::Error),
}

impl Daemon {
    /// Starts to answer, on the current runtime of tokio. Until the issuers' keys are fetched, requests are denied with status 503.
    ///
    /// `load` reads the configuration again for a [reload](Self::reload). The limit of open files of the process is raised to the highest that
    /// is allowed (`RLIMIT_NOFILE`), since each connection is one.
    ///
    /// # Errors
    /// If the configuration is not usable, more connections are allowed than the process can have, or its sockets cannot be bound.
    pub async fn start(
        config: Config,
        log: DecisionLog,
        extend: Arc<ExtendVerifier>,
        load: impl Fn() -> Result<Config, ConfigError> + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        let handshakes = open_files::reserve(&config)?;
        let metrics = Arc::new(Metrics::default());
        let mut apis = Apis::build(&config, &metrics, &*extend, None)?;
        let tls = config.listen.tls.as_ref();
        let tls = tls.map(CurrentTls::read).transpose()?;
        let (listener, trusted) =
            Listener::bind(&config.listen, tls.as_ref(), &metrics, handshakes)
                .await
                .map_err(StartError::Listen)?;
        let admin = match &config.admin {
            Some(admin) => Listener::bind_admin(admin)
                .await
                .map_err(StartError::Listen)?,
            None => Vec::new(),
        };
        apis.start_refreshes();
        let service = CheckService::new(&config, apis, trusted, Arc::clone(&metrics), log);
        let (address, admin_address) =
            (listener.address(), admin.iter().find_map(Listener::address));
        let checks = serve_checks(listener, &config, service.clone());
        let reloader = Arc::new(Reloader {
            service,
            tls,
            extend,
            load: Box::new(load),
            current: Mutex::new(config),
            stopping: AtomicBool::new(false),
            limit: ReloadLimit::default(),
        });
        let admin = admin.into_iter().map(|listener| {
            let reloader = Arc::clone(&reloader);
            let access = ReloadAccess::of(&listener);
            let answer = move |request| admin::answer(Arc::clone(&reloader), access, request);
            Server::start(listener, Protocol::Http1, admin::LIMIT, answer)
        });
        let admin = admin.collect();
        Ok(Self {
            reloader,
            checks,
            admin,
            address,
            admin_address,
        })
    }

    /// The address for proxies, if it is one of TCP.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The address for operators, if it is one of TCP.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// Loads the configuration again. Requests are answered meanwhile, by the current one until the new one has its keys.
    ///
    /// # Errors
    /// Why the current one remains in use.
    pub async fn reload(&self) -> Result<(), LoadError> {
        self.reloader.reload().await
    }

    /// Whether each API has the keys of an issuer, and those of its others were tried.
    pub fn is_ready(&self) -> bool {
        self.reloader.is_ready()
    }

    /// Stops: it is no longer ready, accepts no more connections, answers the requests that it has received, within this time, and writes
    /// the log of decisions, for which it waits a second at most.
    pub async fn stop(self, timeout: Duration) {
        self.reloader.stopping.store(true, Ordering::Relaxed);
        self.checks.stop(timeout).await;
        for admin in self.admin {
            admin.stop(ADMIN_STOP_TIMEOUT).await;
        }
        let lost = self.reloader.service.0.log.flush(LOG_TIMEOUT).await;
        if lost > 0 {
            tracing::error!(
                lost,
                "the reader of the decision log is too slow: its last lines are lost"
            );
        }
    }
}

impl fmt::Debug for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Daemon")
            .field("address", &self.address)
            .field("admin_address", &self.admin_address)
            .finish_non_exhaustive()
    }
}

/// The part of the daemon that reads the configuration again.
pub(crate) struct Reloader {
    service: CheckService,
    /// Of the listener for proxies.
    tls: Option<CurrentTls>,
    extend: Arc<ExtendVerifier>,
    load: Box<Load>,
    /// Locked during a reload.
    current: Mutex<Config>,
    stopping: AtomicBool,
    /// Of the listener for operators.
    pub(crate) limit: ReloadLimit,
}

impl Reloader {
    pub(crate) async fn reload(&self) -> Result<(), LoadError> {
        let reloaded = self.try_reload().await;
        self.service.0.metrics.count_reload(reloaded.is_ok());
        match &reloaded {
            Ok(()) => tracing::info!("the configuration was reloaded"),
            Err(error) => tracing::error!("{error}"),
        }
        reloaded
    }

    async fn try_reload(&self) -> Result<(), LoadError> {
        let mut current = self.current.lock().await;
        let config = (self.load)()?;
        if let Some(section) = changed_section(&current, &config) {
            return Err(LoadError::NeedsRestart(section));
        }
        let tls = config.listen.tls.as_ref();
        let tls = tls.map(LoadedTls::read).transpose()?;
        let previous = self.service.0.apis.load_full();
        let metrics = &self.service.0.metrics;
        let mut apis = Apis::build(&config, metrics, &*self.extend, Some(&previous))?;
        apis.fetch_keys()
            .await
            .map_err(LoadError::KeysUnavailable)?;
        apis.start_refreshes();
        self.service.replace_apis(apis);
        if let (Some(current), Some(tls)) = (&self.tls, tls) {
            current.replace(tls);
            self.service.replace_trusted(current.trusted());
        }
        *current = config;
        Ok(())
    }

    pub(crate) fn is_ready(&self) -> bool {
        !self.stopping.load(Ordering::Relaxed) && self.service.0.apis.load().are_ready()
    }

    /// The causes for which issuers have no keys, one a line.
    pub(crate) fn missing_keys(&self) -> String {
        let status = self.service.0.apis.load().key_status();
        let missing = status.iter().filter(|keys| !keys.is_usable());
        missing.map(|keys| cause(keys) + "\n").collect()
    }

    pub(crate) fn metrics(&self) -> String {
        let service = &self.service.0;
        let ignored = service.source.load().ignored();
        let apis = service.apis.load();
        service.metrics.text(&apis, ignored, &service.log)
    }
}

fn serve_checks(listener: Listener, config: &Config, service: CheckService) -> Server {
    let protocol = match config.proxy.engine {
        Engine::Envoy => Protocol::Http2,
        _ => Protocol::Http1,
    };
    let answer = move |request| answer(service.clone(), protocol, request);
    let limit = Limit {
        connections: config.limits.connections,
        surplus: Surplus::Silent,
    };
    Server::start(listener, protocol, limit, answer)
}

fn answer(
    service: CheckService,
    protocol: Protocol,
    request: Request<Incoming>,
) -> impl Future<Output = Response<Body>> + Send {
    let (parts, body) = request.into_parts();
    async move {
        match protocol {
            Protocol::Http2 => service.grpc(parts.uri.path(), body).await,
            Protocol::Http1 => service.http(&parts).await,
        }
    }
}

/// What cannot be changed while the daemon runs.
fn changed_section(current: &Config, new: &Config) -> Option<&'static str> {
    [
        ("listen", !current.listen.has_same_socket(&new.listen)),
        ("proxy", current.proxy != new.proxy),
        ("admin", current.admin != new.admin),
        ("log", current.log != new.log),
        (
            "limits",
            current.limits.connections != new.limits.connections,
        ),
    ]
    .into_iter()
    .find_map(|(section, changed)| changed.then_some(section))
}

const ADMIN_STOP_TIMEOUT: Duration = Duration::from_secs(1);
const LOG_TIMEOUT: Duration = Duration::from_secs(1);
