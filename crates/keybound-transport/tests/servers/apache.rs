//! Apache, which can request the certificate for some paths only: by renegotiation on TLS 1.2, by post-handshake authentication on
//! TLS 1.3.
use crate::web_server::{ServerKind, Settings};
use rustix::process::Signal;
use std::path::Path;

pub static APACHE: ServerKind = ServerKind {
    name: "apache",
    program: "/usr/sbin/apache2",
    package: "apache2-bin",
    arguments,
    configuration,
    ready: "resuming normal operations",
    reload: Signal::USR1,
};

fn arguments(folder: &Path, configuration: &Path) -> Vec<String> {
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    vec![
        "-DFOREGROUND".into(),
        "-d".into(),
        text(folder),
        "-f".into(),
        text(configuration),
    ]
}

fn configuration(settings: &Settings<'_>) -> String {
    let [require, optional, location] = settings.ports;
    CONFIGURATION
        .replace("@REQUIRE@", &require.to_string())
        .replace("@OPTIONAL@", &optional.to_string())
        .replace("@LOCATION@", &location.to_string())
        .replace("@FOLDER@", settings.folder)
        .replace("@APPLICATION@", &settings.application.to_string())
        .replace("@IDLE@", &settings.idle.as_millis().to_string())
}

/// Apache kills its whole process group when it ends.
const CONFIGURATION: &str = r#"
ServerName localhost
Listen 127.0.0.1:@REQUIRE@
Listen 127.0.0.1:@OPTIONAL@
Listen 127.0.0.1:@LOCATION@
PidFile "@FOLDER@/pid"
DefaultRuntimeDir "@FOLDER@"
ErrorLog /dev/stderr
User nobody
Group nogroup
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule headers_module /usr/lib/apache2/modules/mod_headers.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
ServerLimit 2
StartServers 1
ThreadsPerChild 16
ThreadLimit 16
MaxRequestWorkers 32
KeepAlive On
KeepAliveTimeout @IDLE@ms
SSLProtocol -all +TLSv1.2 +TLSv1.3
SSLCertificateFile "@FOLDER@/server.pem"
SSLCertificateKeyFile "@FOLDER@/server.key"
SSLCACertificateFile "@FOLDER@/clients.pem"
SSLVerifyDepth 1
ProxyPass "/" "http://@APPLICATION@/"
RequestHeader set X-Verify "%{SSL_CLIENT_VERIFY}s"
RequestHeader set X-Subject "%{SSL_CLIENT_S_DN_CN}s"
<VirtualHost 127.0.0.1:@REQUIRE@>
  SSLEngine on
  SSLVerifyClient require
</VirtualHost>
<VirtualHost 127.0.0.1:@OPTIONAL@>
  SSLEngine on
  SSLVerifyClient optional
</VirtualHost>
<VirtualHost 127.0.0.1:@LOCATION@>
  SSLEngine on
  SSLVerifyClient none
  <Location /secure>
    SSLVerifyClient require
  </Location>
  <Location /asked>
    SSLVerifyClient optional
  </Location>
</VirtualHost>
"#;
