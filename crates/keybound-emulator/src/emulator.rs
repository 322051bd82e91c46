use crate::clock::Clock;
use crate::config::{Config, HostName, NetworkConfig};
use crate::endpoints::Endpoints;
use crate::faults::{Fault, FaultError};
use crate::pki::Pki;
use crate::ready::Ready;
use crate::records::Record;
use crate::server::Server;
use crate::service::Service;
use crate::service_handler::ServiceHandler;
use crate::start_error::StartError;
use crate::state::{Keys, State};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use url::Url;

/// Settings of an [`Emulator`].
#[derive(Clone, Debug, Default)]
pub struct EmulatorBuilder {
    config: Config,
    state_dir: Option<PathBuf>,
}

impl EmulatorBuilder {
    /// The configuration. Default: [`Config::default`].
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Stores the CA in a folder, which is created if absent: `ca.pem` and, readable by the owner only,
    /// `ca-key.pem`. The next start loads it, so that clients can trust the same file. Default: a CA for each
    /// start, its certificate in a temporary folder, its key in memory only. The authority of binding certificates and the
    /// keys that sign tokens are new at each start in any case.
    #[must_use]
    pub fn state_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(folder.into());
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// As [`Emulator::start`], and where the folder cannot be used.
    pub fn start(self) -> Result<Emulator, StartError> {
        self.config.check().map_err(StartError::Config)?;
        let listeners = Listeners::bind(&self.config.network)?;
        let endpoints = listeners.endpoints(&self.config.network)?;
        // The path of the CA is used by programs in other folders.
        let state_dir = self.state_dir.map(std::path::absolute).transpose();
        let state_dir = state_dir.map_err(StartError::Host)?;
        let pki = Pki::new(state_dir.as_deref(), self.config.network.bind)?;
        let state = State::new(self.config, pki, endpoints)
            .map_err(|error| StartError::Certificates(error.into()))?;
        let state = Arc::new(state);
        let running = Running::start(listeners, &state)?;
        Ok(Emulator {
            ready: Ready::of(&state),
            state,
            running: Some(running),
        })
    }
}

/// The services, running on loopback until the value is dropped.
///
/// They run on a thread of their own with a runtime of their own: it makes no difference whether the program around them
/// is asynchronous, or has its clock stopped.
pub struct Emulator {
    ready: Ready,
    state: Arc<State>,
    running: Option<Running>,
}

impl Emulator {
    /// A builder with the settings of the start.
    pub fn builder() -> EmulatorBuilder {
        EmulatorBuilder::default()
    }

    /// Starts an emulator with a CA of its own. When this returns, all services listen. It takes some milliseconds; the
    /// keys that sign tokens are made in the background meanwhile.
    ///
    /// # Errors
    /// [`StartError`] where the configuration cannot be used, a port is taken, or the host refuses.
    pub fn start(config: Config) -> Result<Self, StartError> {
        Self::builder().config(config).start()
    }

    /// The addresses of the services.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// The CA certificate of all TLS services, PEM.
    pub fn ca_pem(&self) -> &[u8] {
        self.state.pki.ca_pem()
    }

    /// The emulated clock, which tests may move.
    pub fn clock(&self) -> &Clock {
        &self.state.clock
    }

    /// The last 1000 requests, oldest first. No secrets are part of them.
    pub fn records(&self) -> Vec<Record> {
        self.state.records.all()
    }

    /// The number of requests by the names of [`Record::leg`], and the number of connections to the services with
    /// TLS: `attest-tls`, `token-tls`, `vault-tls`, `graph-tls`. A leg without any is absent.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.state.records.counts()
    }

    /// Injects a fault, after those that are pending.
    ///
    /// # Errors
    /// Where more than 1000 faults would be pending.
    pub fn inject(&self, fault: Fault) -> Result<(), FaultError> {
        self.state.faults.add(vec![fault])
    }

    /// The pending faults.
    pub fn faults(&self) -> Vec<Fault> {
        self.state.faults.waiting()
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.state.faults.clear();
    }

    /// Removes faults (those of the configuration too), records and issued certificates, and resets the clock. Keys and
    /// authorities do not change.
    pub fn reset(&self) {
        self.state.reset();
    }

    /// Stops all services and closes their connections. Dropping does the same.
    pub fn shutdown(self) {
        drop(self);
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
        }
    }
}

impl fmt::Debug for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emulator")
            .field("ready", &self.ready)
            .finish_non_exhaustive()
    }
}

/// One bound listener for each service.
struct Listeners(Vec<(Service, TcpListener)>);

impl Listeners {
    fn bind(network: &NetworkConfig) -> Result<Self, StartError> {
        let ports = [
            (Service::Imds, network.imds_port),
            (Service::Sts, network.sts_port),
            (Service::Maa, network.maa_port),
            (Service::Vault, network.vault_port),
            (Service::Graph, network.graph_port),
            (Service::Control, network.control_port),
        ];
        let bind = |(service, port)| {
            let address = SocketAddr::new(network.bind, port);
            TcpListener::bind(address)
                .and_then(|listener| listener.set_nonblocking(true).map(|()| (service, listener)))
                .map_err(|source| StartError::Listen { address, source })
        };
        // Services with a fixed port bind first, so that no other service gets that port as a free one.
        let (mut fixed, free): (Vec<_>, Vec<_>) =
            ports.into_iter().partition(|(_, port)| *port != 0);
        fixed.extend(free);
        fixed
            .into_iter()
            .map(bind)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    fn endpoints(&self, network: &NetworkConfig) -> Result<Endpoints, StartError> {
        let url = |service: Service, scheme: &str| {
            let found = self.0.iter().find(|(of, _)| *of == service);
            let address = found
                .ok_or(io::Error::from(io::ErrorKind::NotFound))
                .and_then(|(_, listener)| listener.local_addr())?;
            // Clients resolve localhost to both families, and only one is listened at: at the other, another program may
            // have the port. It has no certificate for TLS; over plain HTTP it would get the control secret.
            let text = match network.host {
                HostName::Localhost if scheme == "https" => {
                    format!("https://localhost:{}/", address.port())
                }
                _ => format!("{scheme}://{address}/"),
            };
            Url::parse(&text).map_err(io::Error::other)
        };
        let all = || -> io::Result<Endpoints> {
            Ok(Endpoints {
                imds: url(Service::Imds, "http")?,
                sts: url(Service::Sts, "https")?,
                maa: url(Service::Maa, "https")?,
                vault: url(Service::Vault, "https")?,
                graph: url(Service::Graph, "https")?,
                control: url(Service::Control, "http")?,
            })
        };
        all().map_err(StartError::Host)
    }
}

/// The thread that serves.
struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Running {
    /// Returns when the services listen, or with the error. The runtime is created and dropped on the thread: it cannot be
    /// dropped in an asynchronous caller.
    fn start(listeners: Listeners, state: &Arc<State>) -> Result<Self, StartError> {
        let (ready, started) = mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel();
        let state = state.clone();
        let serve = move || match prepare(listeners, &state) {
            Ok((runtime, servers)) => {
                let _ = ready.send(Ok(()));
                run(runtime, servers, state.keys.clone(), stopped);
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        };
        let thread = std::thread::Builder::new()
            .name("keybound-emulator".into())
            .spawn(serve)
            .map_err(StartError::Host)?;
        match started.recv() {
            Ok(Ok(())) => Ok(Self { stop, thread }),
            Ok(Err(error)) => Err(StartError::Host(error)),
            Err(ended) => Err(StartError::Host(io::Error::other(ended))),
        }
    }

    fn stop(self) {
        let _ = self.stop.send(());
        // A panic of the thread has been reported already.
        let _ = self.thread.join();
    }
}

fn prepare(
    listeners: Listeners,
    state: &Arc<State>,
) -> io::Result<(Runtime, Vec<Server<ServiceHandler>>)> {
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let entered = runtime.enter();
    let serve = |(service, listener)| {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        Server::of_service(listener, state.clone(), service)
    };
    let servers = listeners
        .0
        .into_iter()
        .map(serve)
        .collect::<io::Result<_>>()?;
    drop(entered);
    Ok((runtime, servers))
}

/// Serves until `stopped` receives a value or its sender is dropped.
fn run(
    runtime: Runtime,
    servers: Vec<Server<ServiceHandler>>,
    keys: Keys,
    stopped: oneshot::Receiver<()>,
) {
    for server in servers {
        runtime.spawn(server.run());
    }
    runtime.spawn(async move { keys.make().await });
    let _ = runtime.block_on(stopped);
    // Pending work ends with the runtime; the generation of a key is not waited for.
    runtime.shutdown_background();
}
