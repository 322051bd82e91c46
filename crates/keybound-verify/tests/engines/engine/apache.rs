use super::EngineKind;

pub static APACHE: EngineKind = EngineKind {
    name: "apache",
    program: || "/usr/sbin/apache2".into(),
    package: "the Debian packages apache2-bin and lua-socket",
    main: Some(MAIN),
    settings: "",
    arguments: |folder, configuration, _| {
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
    waits: Some(("settimeout(3,", "settimeout(0.2,")),
    requires_caller: true,
    has_unix_sockets: true,
    listens_early: false,
    names_reason: false,
};

const MAIN: &str = r#"
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
