//! An Apache of our own: own configuration, own folder, a free port.
use crate::support::pki::{Authority, Leaf};
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

pub struct Apache {
    port: u16,
    process: Child,
    _folder: TempDir,
}

impl Apache {
    /// Starts it. Below `/secure` it asks for a certificate of `clients`, once it has read the request.
    pub fn start(leaf: &Leaf, clients: &Authority) -> Self {
        assert!(
            Path::new(PROGRAM).exists(),
            "{PROGRAM} is missing: this test needs the Debian package apache2"
        );
        let mut said = String::new();
        // Another process can take the port between our look and its start.
        for _ in 0..5 {
            match Self::try_start(leaf, clients) {
                Ok(apache) => return apache,
                Err(words) => said = words,
            }
        }
        panic!("apache2 does not start: {said}");
    }

    fn try_start(leaf: &Leaf, clients: &Authority) -> Result<Self, String> {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .unwrap()
            .port();
        let folder = prepare(port, leaf, clients);
        let mut process = Command::new(PROGRAM)
            .arg("-DFOREGROUND")
            .arg("-d")
            .arg(folder.path())
            .arg("-f")
            .arg(folder.path().join("apache.conf"))
            // It ends its whole process group when it ends.
            .process_group(0)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut said = String::new();
        for line in lines.by_ref().map_while(Result::ok) {
            if line.contains("resuming normal operations") {
                // It must not block on what it says later.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok(Self {
                    port,
                    process,
                    _folder: folder,
                });
            }
            writeln!(said, "{line}").unwrap();
        }
        let _ = process.wait();
        Err(said)
    }

    pub fn uri(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }
}

impl Drop for Apache {
    fn drop(&mut self) {
        // A kill of the parent would leave its children behind.
        let _ = Command::new("kill")
            .arg(self.process.id().to_string())
            .status();
        let _ = self.process.wait();
    }
}

fn prepare(port: u16, leaf: &Leaf, clients: &Authority) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    let write = |name: &str, content: &[u8]| fs::write(path.join(name), content).unwrap();
    write("server.pem", &leaf.certificate.to_pem().unwrap());
    write("server.key", &leaf.key.private_key_to_pem_pkcs8().unwrap());
    write("clients.pem", &clients.pem());
    fs::create_dir(path.join("cgi")).unwrap();
    write("cgi/echo", ECHO.as_bytes());
    fs::set_permissions(path.join("cgi/echo"), fs::Permissions::from_mode(0o755)).unwrap();
    let configuration = CONFIGURATION
        .replace("@PORT@", &port.to_string())
        .replace("@FOLDER@", path.to_str().unwrap());
    write("apache.conf", configuration.as_bytes());
    folder
}

const PROGRAM: &str = "/usr/sbin/apache2";

/// Answers the length of the body, what Apache says of the certificate, and its name.
const ECHO: &str = r#"#!/bin/sh
length=$(wc -c)
printf 'Content-Type: text/plain\r\n\r\n%s %s %s' $length "$SSL_CLIENT_VERIFY" "$SSL_CLIENT_S_DN_CN"
"#;

const CONFIGURATION: &str = r#"
ServerName localhost
Listen 127.0.0.1:@PORT@
PidFile "@FOLDER@/pid"
DefaultRuntimeDir "@FOLDER@"
ErrorLog /dev/stderr
User nobody
Group nogroup
LoadModule mpm_prefork_module /usr/lib/apache2/modules/mod_mpm_prefork.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule alias_module /usr/lib/apache2/modules/mod_alias.so
LoadModule cgi_module /usr/lib/apache2/modules/mod_cgi.so
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
StartServers 2
MaxRequestWorkers 16
KeepAlive On
KeepAliveTimeout 60
SSLEngine on
SSLProtocol -all +TLSv1.2 +TLSv1.3
SSLCertificateFile "@FOLDER@/server.pem"
SSLCertificateKeyFile "@FOLDER@/server.key"
SSLCACertificateFile "@FOLDER@/clients.pem"
SSLVerifyClient none
ScriptAlias /open "@FOLDER@/cgi/echo"
ScriptAlias /secure "@FOLDER@/cgi/echo"
<Directory "@FOLDER@/cgi">
  Require all granted
</Directory>
<Location /secure>
  SSLVerifyClient require
  SSLVerifyDepth 1
  SSLOptions +StdEnvVars
</Location>
"#;
