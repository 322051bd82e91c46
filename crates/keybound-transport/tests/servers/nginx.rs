//! nginx, which requests the certificate in the first handshake only.
use crate::web_server::{ServerKind, Settings};
use rustix::process::Signal;
use std::path::Path;

pub static NGINX: ServerKind = ServerKind {
    name: "nginx",
    program: "/usr/sbin/nginx",
    package: "nginx-light",
    arguments,
    configuration,
    ready: "start worker process ",
    reload: Signal::HUP,
};

fn arguments(folder: &Path, configuration: &Path) -> Vec<String> {
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    vec![
        "-p".into(),
        text(folder),
        "-c".into(),
        text(configuration),
        // Otherwise it opens its default log file before it reads the configuration.
        "-e".into(),
        "stderr".into(),
    ]
}

fn configuration(settings: &Settings<'_>) -> String {
    let [require, optional, _] = settings.ports;
    CONFIGURATION
        .replace("@REQUIRE@", &require.to_string())
        .replace("@OPTIONAL@", &optional.to_string())
        .replace("@FOLDER@", settings.folder)
        .replace("@APPLICATION@", &settings.application.to_string())
        .replace("@IDLE@", &settings.idle.as_millis().to_string())
}

const CONFIGURATION: &str = r#"
daemon off;
worker_processes 1;
pid "@FOLDER@/pid";
error_log stderr notice;
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
  client_max_body_size 8m;
  keepalive_timeout @IDLE@ms;
  ssl_protocols TLSv1.2 TLSv1.3;
  ssl_certificate "@FOLDER@/server.pem";
  ssl_certificate_key "@FOLDER@/server.key";
  ssl_client_certificate "@FOLDER@/clients.pem";
  upstream application {
    server @APPLICATION@;
    keepalive 16;
  }
  map $ssl_client_s_dn $common_name {
    default "(null)";
    "~CN=(?<name>[^,]+)" $name;
  }
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header X-Verify $ssl_client_verify;
  proxy_set_header X-Subject $common_name;
  proxy_next_upstream off;
  server {
    listen 127.0.0.1:@REQUIRE@ ssl;
    ssl_verify_client on;
    location / {
      proxy_pass http://application;
    }
  }
  server {
    listen 127.0.0.1:@OPTIONAL@ ssl;
    ssl_verify_client optional;
    location / {
      proxy_pass http://application;
    }
  }
}
"#;
