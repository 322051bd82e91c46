//! Proxies as processes.
mod apache;
mod caddy;
mod envoy;
mod haproxy;
mod nginx;
mod traefik;

pub use apache::APACHE;
pub use caddy::CADDY;
pub use envoy::{ENVOY, ENVOY_HTTP};
pub use haproxy::HAPROXY;
pub use nginx::{NGINX, NGINX_WITH_SETTINGS};
pub use traefik::{TRAEFIK, TRAEFIK_WITH_SETTINGS};

use keybound_testing::{Authority, Leaf, ReservedPort};
use keybound_verify::{Config, DaemonConnection, FrontEnd, proxy_config, proxy_script};
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The differences between the proxies.
pub struct EngineKind {
    /// Its name in the configuration of the daemon.
    pub name: &'static str,
    program: fn() -> PathBuf,
    /// What must be installed.
    package: &'static str,
    /// The main configuration with `@INCLUDE@` in place of the printed one's path, and `@FOLDER@`.
    main: Option<&'static str>,
    /// What replaces `@SETTINGS@` in it.
    settings: &'static str,
    arguments: fn(folder: &Path, configuration: &Path, listen: SocketAddr) -> Vec<String>,
    /// Whether it asks by a script.
    has_script: bool,
    /// Whether the file of the certificate has the key too.
    pub key_beside_certificate: bool,
    /// The cases in which the proxy itself decides, or changes the request before it asks: the status, and the reason if the daemon
    /// refuses the changed request.
    pub own_verdicts: &'static [(&'static str, u16, Option<&'static str>)],
    /// The cases in which the proxy refuses the handshake.
    pub refused_by_tls: &'static [&'static str],
    /// Whether clients can speak HTTP/2.
    pub has_http_2: bool,
    /// Whether the API gets no trailers.
    pub drops_trailers: bool,
    /// How long it waits for an answer as it is printed, and a shorter time. `None`: 30 s, which no setting changes.
    pub waits: Option<(&'static str, &'static str)>,
    /// Whether it requires that the daemon names a caller.
    pub requires_caller: bool,
    /// Whether it can connect to a Unix socket.
    pub has_unix_sockets: bool,
    /// Whether it accepts connections before it has read its configuration.
    listens_early: bool,
    /// Whether the answer names the reason.
    pub names_reason: bool,
}

/// A proxy that runs. It ends with this value.
pub struct Engine {
    process: Child,
    pub address: SocketAddr,
    _port: ReservedPort,
    /// The authority of its certificate, which is for `localhost`.
    pub ca_pem: Vec<u8>,
}

impl Engine {
    /// Starts a proxy with the printed configuration, in front of an API.
    pub fn start(kind: &EngineKind, folder: &Path, config: &Config, api: SocketAddr) -> Self {
        Self::start_with_tls(kind, folder, config, api, None)
    }

    /// Like [`start`](Self::start), for a daemon with TLS.
    pub fn start_with_tls(
        kind: &EngineKind,
        folder: &Path,
        config: &Config,
        api: SocketAddr,
        daemon: Option<DaemonConnection>,
    ) -> Self {
        Self::start_changed(kind, folder, config, api, daemon, |printed| printed)
    }

    /// Like [`start`](Self::start), with another text in place of what is printed: the configuration, or the script if there is one.
    pub fn start_changed(
        kind: &EngineKind,
        folder: &Path,
        config: &Config,
        api: SocketAddr,
        daemon: Option<DaemonConnection>,
        change: impl FnOnce(String) -> String,
    ) -> Self {
        let program = (kind.program)();
        assert!(
            program.exists(),
            "{} is missing: this test needs {}; scripts/setup test installs it",
            program.display(),
            kind.package
        );
        // The worker processes of a proxy may have another account.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
        let authority = Authority::new("servers");
        let leaf = authority.server("localhost");
        let (certificate, key) = (folder.join("server.pem"), folder.join("server.key"));
        let key_pem = leaf.key.private_key_to_pem_pkcs8().unwrap();
        let mut chain = leaf.certificate.to_pem().unwrap();
        if kind.key_beside_certificate {
            chain.extend_from_slice(&key_pem);
        }
        fs::write(&certificate, chain).unwrap();
        fs::write(&key, key_pem).unwrap();
        let port = ReservedPort::new();
        // A name with addresses of both families, of which the API listens on one.
        let upstream = format!("localhost:{}", api.port());
        let mut front = FrontEnd::new(&certificate, &key, upstream.parse().unwrap());
        front.listen = port.address();
        front.script = folder.join("verify.lua");
        front.daemon = daemon;
        let mut printed = proxy_config(config, &front).unwrap();
        if kind.has_script {
            let script = change(proxy_script(config, &front).unwrap());
            fs::write(&front.script, script).unwrap();
        } else {
            printed = change(printed);
        }
        let configuration = write(kind, folder, &printed);
        let arguments = (kind.arguments)(folder, &configuration, front.listen);
        let engine = Self {
            process: run(&program, &arguments, folder, front.listen),
            address: front.listen,
            _port: port,
            ca_pem: authority.pem(),
        };
        if kind.listens_early {
            wait_for_certificate(front.listen, &leaf);
        }
        engine
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        kill(&mut self.process);
    }
}

/// With its worker processes.
fn kill(process: &mut Child) {
    // It may have ended.
    let _ = kill_process_group(Pid::from_child(process), Signal::KILL);
    let _ = process.wait();
}

/// Writes the configuration, and the main one that includes it if it is only a part.
fn write(kind: &EngineKind, folder: &Path, printed: &str) -> PathBuf {
    let part = folder.join("printed.yaml");
    fs::write(&part, printed).unwrap();
    let Some(main) = kind.main else {
        return part;
    };
    let path = folder.join("main.conf");
    let main = main
        .replace("@SETTINGS@", kind.settings)
        .replace("@INCLUDE@", part.to_str().unwrap())
        .replace("@FOLDER@", folder.to_str().unwrap());
    fs::write(&path, main).unwrap();
    path
}

/// Waits until the proxy accepts connections.
fn run(program: &Path, arguments: &[String], folder: &Path, address: SocketAddr) -> Child {
    let log = folder.join("proxy.log");
    let output = fs::File::create(&log).unwrap();
    let mut process = Command::new(program)
        .args(arguments)
        // Where Caddy has its files and its address for administration.
        .envs(["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"].map(|name| (name, folder)))
        .env("CADDY_ADMIN", format!("unix/{}/admin", folder.display()))
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .spawn()
        .unwrap();
    let end = Instant::now() + START;
    while Instant::now() < end && process.try_wait().unwrap().is_none() {
        if TcpStream::connect(address).is_ok() {
            return process;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    kill(&mut process);
    let log = fs::read_to_string(log).unwrap();
    panic!("{} does not start:\n{log}", program.display());
}

/// Waits until the proxy has this certificate: that of its configuration.
fn wait_for_certificate(address: SocketAddr, leaf: &Leaf) {
    let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
    connector.set_verify(SslVerifyMode::NONE);
    let connector = connector.build();
    let has_certificate = || {
        let stream = TcpStream::connect(address).ok()?;
        // It may end connections while it starts.
        let stream = connector.connect("localhost", stream).ok()?;
        let certificate = stream.ssl().peer_certificate()?;
        (certificate == leaf.certificate).then_some(())
    };
    let end = Instant::now() + START;
    while has_certificate().is_none() {
        assert!(Instant::now() < end, "{address} has another certificate");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A program in the version that scripts/setup installs.
fn cached(program: &str) -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    cache.unwrap_or_default().join("keybound").join(program)
}

/// Longer than Envoy needs on a busy machine.
const START: Duration = Duration::from_secs(30);
