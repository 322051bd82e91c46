//! nginx as processes of one thread each.
use keybound_benches::server_thread::processor_time;
use keybound_benches::setting::{HOST, Setting, daemon_config, write_leaf};
use keybound_testing::Authority;
use keybound_testing::attacks::{RESOURCE, TENANT};
use keybound_verify::{FrontEnd, proxy_config};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A server that runs. It ends with this value.
pub struct Nginx {
    process: Child,
    pub address: SocketAddr,
    _folder: TempDir,
}

impl Nginx {
    /// An API that answers every request.
    pub fn api() -> Self {
        Self::start("", |_, address| {
            format!(
                "server {{ listen {address}; location / {{ return 200 \"orders for $http_x_keybound_client\\n\"; }} }}"
            )
        })
    }

    /// It asks the daemons of this setting, of which there are `daemons`.
    pub fn with_daemon(setting: &Setting, api: &Self, daemons: usize) -> Self {
        let config = daemon_config(setting.folder(), "nginx");
        let socket = config.listen.unix.clone().unwrap();
        Self::start("", |folder, address| {
            let (certificate, key) = server_certificate(folder);
            let mut front = FrontEnd::new(&certificate, &key, api.address.into());
            front.listen = address;
            let printed = proxy_config(&config, &front).unwrap();
            // The further sockets follow the first one.
            let server = format!("server unix:{};", socket.display());
            assert!(printed.contains(&server), "{printed}");
            let servers = (0..daemons).map(|number| match number {
                0 => server.clone(),
                _ => format!("server unix:{}-{number};", socket.display()),
            });
            printed.replace(&server, &servers.collect::<String>())
        })
    }

    /// It verifies tokens by a script.
    pub fn with_njs(setting: &Setting, api: &Self) -> Self {
        assert!(
            Path::new(MODULE).exists(),
            "{MODULE} is missing: install the Debian package libnginx-mod-http-js"
        );
        let module = format!("load_module {MODULE};");
        Self::start(&module, |folder, address| {
            let key = setting.issuer.key("any").public_key_to_der().unwrap();
            let script = include_str!("verify.js")
                .replace("@KEY@", &openssl::base64::encode_block(&key))
                .replace("@AUDIENCE@", RESOURCE)
                .replace("@TENANT@", TENANT);
            fs::write(folder.join("verify.js"), script).unwrap();
            let (certificate, key) = server_certificate(folder);
            include_str!("njs.conf")
                .replace("@LISTEN@", &address.to_string())
                .replace("@API@", &api.address.to_string())
                .replace("@HOST@", HOST)
                .replace("@CERTIFICATE@", certificate.to_str().unwrap())
                .replace("@KEY@", key.to_str().unwrap())
        })
    }

    pub fn processor_time(&self) -> Duration {
        processor_time(&PathBuf::from(format!("/proc/{}", self.process.id())))
    }

    fn start(module: &str, servers: impl FnOnce(&Path, SocketAddr) -> String) -> Self {
        assert!(
            Path::new(PROGRAM).exists(),
            "{PROGRAM} is missing: install the Debian package nginx-light"
        );
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let configuration = include_str!("nginx.conf")
            .replace("@MODULE@", module)
            .replace("@SERVERS@", &servers(folder.path(), address))
            .replace("@FOLDER@", folder.path().to_str().unwrap());
        let file = folder.path().join("nginx.conf");
        fs::write(&file, configuration).unwrap();
        let process = Command::new(PROGRAM)
            .args(["-e", "stderr", "-p"])
            .arg(folder.path())
            .arg("-c")
            .arg(file)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut server = Self {
            process,
            address,
            _folder: folder,
        };
        server.wait_until_ready();
        server
    }

    fn wait_until_ready(&mut self) {
        while TcpStream::connect(self.address).is_err() {
            let status = self.process.try_wait().unwrap();
            assert!(status.is_none(), "nginx did not start: {status:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The files of a certificate and its key.
fn server_certificate(folder: &Path) -> (PathBuf, PathBuf) {
    write_leaf(folder, "server", &Authority::new("servers").server(HOST)).unwrap()
}

const PROGRAM: &str = "/usr/sbin/nginx";
const MODULE: &str = "/usr/lib/nginx/modules/ngx_http_js_module.so";
