//! The server: one nginx process that requires a certificate and returns a fixed response.
use crate::certificates::Authority;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A running nginx. It is stopped when this value is dropped.
pub struct Server {
    process: Child,
    pub site: Site,
    _folder: TempDir,
}

/// The address of the server, and the folder with the files of an ordinary client.
pub struct Site {
    pub folder: PathBuf,
    pub port: u16,
}

impl Site {
    pub fn url(&self) -> String {
        format!("https://localhost:{}/", self.port)
    }

    /// A file: `servers.pem`, `client.key`, `client.pem`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Server {
    pub fn start(servers: &Authority, clients: &Authority) -> Self {
        assert!(
            Path::new(PROGRAM).exists(),
            "{PROGRAM} is missing: install the Debian package nginx-light"
        );
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, content: &[u8]| {
            fs::write(folder.path().join(name), content).expect("a file");
        };
        for (authority, name) in [(servers, "localhost"), (clients, "client")] {
            let (key, certificate) = authority.issue(name);
            write(&format!("{name}.key"), &key);
            write(&format!("{name}.pem"), &certificate);
        }
        write("servers.pem", &servers.pem());
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let configuration = CONFIGURATION
            .replace("@FOLDER@", folder.path().to_str().expect("a path"))
            .replace("@PORT@", &port.to_string());
        write("nginx.conf", configuration.as_bytes());
        let process = Command::new(PROGRAM)
            .args(["-e", "stderr", "-p"])
            .arg(folder.path())
            .arg("-c")
            .arg(folder.path().join("nginx.conf"))
            .stdin(Stdio::null())
            .spawn()
            .expect("nginx");
        let mut server = Self {
            process,
            site: Site {
                folder: folder.path().to_owned(),
                port,
            },
            _folder: folder,
        };
        server.wait_until_ready();
        server
    }

    fn wait_until_ready(&mut self) {
        while TcpStream::connect(("127.0.0.1", self.site.port)).is_err() {
            let status = self.process.try_wait().expect("a process");
            assert!(status.is_none(), "nginx did not start: {status:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const PROGRAM: &str = "/usr/sbin/nginx";

/// The issuer of the certificate is not verified, because it is the emulator; a client without a certificate is rejected. The
/// response has the number of the connection and of the request on it.
const CONFIGURATION: &str = r#"
daemon off;
master_process off;
pid "@FOLDER@/pid";
error_log stderr error;
events {
  worker_connections 256;
}
http {
  access_log off;
  client_body_temp_path "@FOLDER@/body";
  proxy_temp_path "@FOLDER@/proxy";
  fastcgi_temp_path "@FOLDER@/fastcgi";
  scgi_temp_path "@FOLDER@/scgi";
  uwsgi_temp_path "@FOLDER@/uwsgi";
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  keepalive_time 24h;
  server {
    listen 127.0.0.1:@PORT@ ssl;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_certificate "@FOLDER@/localhost.pem";
    ssl_certificate_key "@FOLDER@/localhost.key";
    ssl_verify_client optional_no_ca;
    if ($ssl_client_fingerprint = "") {
      return 403;
    }
    location / {
      default_type application/json;
      return 200 '{"connection":$connection,"request":$connection_requests,"value":"text with about the length of a secret and its surroundings: attributes, an identifier, a content type, and the times at which it was created, changed and recovered."}';
    }
  }
}
"#;
