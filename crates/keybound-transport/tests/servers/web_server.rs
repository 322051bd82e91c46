//! Web servers with their own configuration, folder and ports. They forward requests to an application.
use crate::process::Process;
use crate::support::pki::{Authority, Leaf};
use crate::{apache, nginx};
use rustix::process::Signal;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
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
    ports: [u16; 3],
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
        let mut output = String::new();
        // Another process may use a port before the server starts.
        for _ in 0..5 {
            let ports = [(); 3].map(|()| free_port());
            let configuration = (kind.configuration)(&Settings {
                ports,
                folder: folder.path().to_str().unwrap(),
                application,
                idle,
            });
            fs::write(folder.path().join(CONFIGURATION), configuration).unwrap();
            match run(kind, folder.path()) {
                Ok(process) => {
                    return Self {
                        kind,
                        ports,
                        process,
                        folder,
                    };
                }
                Err(message) => output = message,
            }
        }
        panic!("{} does not start: {output}", kind.program);
    }

    pub fn uri(&self, virtual_host: VirtualHost, path: &str) -> String {
        format!(
            "https://localhost:{}{path}",
            self.ports[virtual_host as usize]
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

/// A port outside of the ephemeral range: a server that is started again finds its port free, and a client does not connect to
/// itself meanwhile.
fn free_port() -> u16 {
    static TRIED: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id() % 200).unwrap() * 100;
    loop {
        let port = 10_000 + (own + TRIED.fetch_add(1, Ordering::Relaxed)) % 20_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The servers of all tests.
pub const SERVER_KINDS: [&ServerKind; 2] = [&apache::APACHE, &nginx::NGINX];
const CONFIGURATION: &str = "server.conf";
/// Longer than the children of a killed server need to end.
const RESTART: Duration = Duration::from_secs(20);
