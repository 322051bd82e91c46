use crate::clock::Clock;
use crate::config::Config;
use crate::faults::{Fault, FaultError};
use crate::listeners::Listeners;
use crate::pki::Pki;
use crate::ready::Ready;
use crate::record::Record;
use crate::server_thread::ServerThread;
use crate::start_error::StartError;
use crate::state::State;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

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

    /// Stores the CA in a directory, which is created if absent: `ca.pem` and, readable by the owner only,
    /// `ca-key.pem`. The next start loads it, so that clients can trust the same file. Default: a new CA at each
    /// start, its certificate in a temporary directory, its key only in memory. The issuer of binding certificates and the
    /// keys that sign tokens are always new.
    #[must_use]
    pub fn state_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(folder.into());
        self
    }

    /// Starts the emulator.
    ///
    /// # Errors
    /// As [`Emulator::start`], and if the directory cannot be used.
    pub fn start(self) -> Result<Emulator, StartError> {
        self.config.check().map_err(StartError::Config)?;
        let listeners = Listeners::bind(&self.config.network)?;
        let endpoints = listeners.endpoints(self.config.network.host)?;
        // Programs in other directories use the path of the CA.
        let state_dir = self.state_dir.map(std::path::absolute).transpose();
        let state_dir = state_dir.map_err(StartError::Host)?;
        let pki = Pki::new(state_dir.as_deref(), self.config.network.bind)?;
        let state = Arc::new(State::new(self.config, pki, endpoints)?);
        let ready = Ready::of(&state)?;
        let running = ServerThread::start(listeners, &state)?;
        Ok(Emulator {
            ready,
            state,
            running: Some(running),
        })
    }
}

/// The services, running on loopback until the value is dropped.
///
/// They run on their own thread and runtime, independent of a runtime of the caller and of its paused time.
pub struct Emulator {
    ready: Ready,
    state: Arc<State>,
    running: Option<ServerThread>,
}

impl Emulator {
    /// Returns a builder with the default settings.
    pub fn builder() -> EmulatorBuilder {
        EmulatorBuilder::default()
    }

    /// Starts an emulator with a new CA. All services listen when this returns, after some milliseconds; the keys that sign
    /// tokens are created in the background.
    ///
    /// # Errors
    /// [`StartError`] if the configuration is invalid, a port is in use, or the host lacks a resource.
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

    /// The emulated clock, which tests can advance.
    pub fn clock(&self) -> &Clock {
        &self.state.clock
    }

    /// The records of the last 1000 requests, oldest first. They contain no secrets.
    pub fn records(&self) -> Vec<Record> {
        self.state.records.all()
    }

    /// The number of requests by [`Record::leg`], and of connections to the services with TLS by `attest-tls`, `token-tls`,
    /// `vault-tls`, `graph-tls` and `service-fabric-tls`. A leg without any is absent.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.state.records.counts()
    }

    /// Appends a fault to the pending ones.
    ///
    /// # Errors
    /// If more than 1000 faults would be pending.
    pub fn inject(&self, fault: Fault) -> Result<(), FaultError> {
        self.state.faults.add(vec![fault])
    }

    /// The pending faults.
    pub fn faults(&self) -> Vec<Fault> {
        self.state.faults.pending()
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.state.faults.clear();
    }

    /// Entra signs new tokens with the next of its published keys. The previous ones remain published; of them the last 32.
    pub fn rotate_keys(&self) {
        self.state.keys.entra.rotate();
    }

    /// Removes the previous keys of Entra: tokens that they signed are no longer valid.
    pub fn retire_previous_keys(&self) {
        self.state.keys.entra.retire_previous();
    }

    /// Removes the key of Entra with this id (`kid`), and returns whether there is one. If it is the one that signs, the next one
    /// signs from now on.
    pub fn retire_key(&self, id: &str) -> bool {
        self.state.keys.entra.retire(id)
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
