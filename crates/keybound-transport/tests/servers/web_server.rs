//! Web servers with their own configuration, folder and ports. They forward requests to an application.
use crate::process::Process;
use crate::support::pki::{Authority, Leaf};
use crate::{apache, nginx};
use keybound_testing::ReservedPort;
use rustix::process::Signal;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The differences between the servers.
pub struct ServerKind {
    pub name: &'static str,
    pub program: &'static str,
    pub package: &'static str,
    /// The arguments for a folder and a configuration file.
    pub arguments: fn(folder: &Path, configuration: &Path) -> Vec<String>,
    pub configuration: fn(&Settings<'_>) -> String,
    /// The log line when it is ready, after the start and a reload.
    pub ready: &'static str,
    /// The signal for a graceful restart.
    pub reload: Signal,
}

/// The parameters of a configuration.
pub struct Settings<'a> {
    /// By [`VirtualHost`].
    pub ports: [u16; 3],
    pub folder: &'a str,
    pub application: SocketAddr,
    /// The idle timeout.
    pub idle: Duration,
}

/// How a server requests the certificate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum VirtualHost {
    /// On all connections; required.
    Require,
    /// On all connections; optional.
    Optional,
    /// Only after a request for `/secure` (required) or `/asked` (optional). Apache only.
    Location,
}

/// A running server.
pub struct WebServer {
    kind: &'static ServerKind,
    ports: [ReservedPort; 3],
    process: Process,
    folder: TempDir,
}

impl WebServer {
    /// Starts a server that trusts clients of this authority, with this idle timeout.
    pub fn start(
        kind: &'static ServerKind,
        leaf: &Leaf,
        clients: &Authority,
        application: SocketAddr,
        idle: Duration,
    ) -> Self {
        assert!(
            Path::new(kind.program).exists(),
            "{} is missing: this test needs the Debian package {}",
            kind.program,
            kind.package
        );
        let folder = prepare(leaf, clients);
        let ports = [(); 3].map(|()| ReservedPort::new());
        let configuration = (kind.configuration)(&Settings {
            ports: ports.each_ref().map(ReservedPort::port),
            folder: folder.path().to_str().unwrap(),
            application,
            idle,
        });
        fs::write(folder.path().join(CONFIGURATION), configuration).unwrap();
        let process = run(kind, folder.path())
            .unwrap_or_else(|output| panic!("{} does not start: {output}", kind.program));
        Self {
            kind,
            ports,
            process,
            folder,
        }
    }

    pub fn uri(&self, virtual_host: VirtualHost, path: &str) -> String {
        format!(
            "https://localhost:{}{path}",
            self.ports[virtual_host as usize].port()
        )
    }

    /// Restarts the server gracefully, and waits for the end of the restart.
    pub fn reload(&mut self) {
        let lines = self.process.lines();
        self.process.signal(self.kind.reload);
        self.process.wait_for(self.kind.ready, lines).unwrap();
    }

    /// Kills the server, and starts it again.
    pub fn kill_and_start(&mut self) {
        self.process.kill();
        let end = Instant::now() + RESTART;
        // Its children are killed too, and hold its ports until they have ended.
        self.process = loop {
            match run(self.kind, self.folder.path()) {
                Ok(process) => break process,
                Err(message) => assert!(Instant::now() < end, "no new start: {message}"),
            }
        };
    }
}

fn run(kind: &ServerKind, folder: &Path) -> Result<Process, String> {
    let arguments = (kind.arguments)(folder, &folder.join(CONFIGURATION));
    let process = Process::start(Command::new(kind.program).args(arguments));
    process.wait_for(kind.ready, 0)?;
    Ok(process)
}

fn prepare(leaf: &Leaf, clients: &Authority) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    let write = |name: &str, content: &[u8]| fs::write(path.join(name), content).unwrap();
    write("server.pem", &leaf.certificate.to_pem().unwrap());
    write("server.key", &leaf.key.private_key_to_pem_pkcs8().unwrap());
    write("clients.pem", &clients.pem());
    folder
}

/// The servers of all tests.
pub const SERVER_KINDS: [&ServerKind; 2] = [&apache::APACHE, &nginx::NGINX];
const CONFIGURATION: &str = "server.conf";
/// Longer than the children of a killed server need to end.
const RESTART: Duration = Duration::from_secs(20);
