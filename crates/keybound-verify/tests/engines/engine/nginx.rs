use super::EngineKind;

pub static NGINX: EngineKind = EngineKind {
    name: "nginx",
    program: || "/usr/sbin/nginx".into(),
    package: "the Debian package nginx-light",
    main: Some(MAIN),
    settings: "",
    arguments: |folder, configuration, _| {
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
    waits: Some(("proxy_read_timeout 3s;", "proxy_read_timeout 200ms;")),
    requires_caller: true,
    has_unix_sockets: true,
    listens_early: false,
    names_reason: false,
};

/// nginx with settings in its context `http` that are right for other sites.
pub static NGINX_WITH_SETTINGS: EngineKind = EngineKind {
    settings: SETTINGS,
    ..NGINX
};

const MAIN: &str = r#"
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
  @SETTINGS@
  include "@INCLUDE@";
}
"#;

const SETTINGS: &str = r#"
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
"#;
