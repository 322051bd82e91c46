use super::EngineKind;

pub static HAPROXY: EngineKind = EngineKind {
    name: "haproxy",
    program: || "/usr/sbin/haproxy".into(),
    package: "the Debian package haproxy",
    main: None,
    settings: "",
    arguments: |_, configuration, _| {
        vec![
            "-db".to_owned(),
            "-f".to_owned(),
            configuration.to_str().unwrap().to_owned(),
        ]
    },
    has_script: true,
    key_beside_certificate: true,
    own_verdicts: &[],
    refused_by_tls: &[],
    has_http_2: true,
    // Before version 3.2.
    drops_trailers: false,
    waits: Some(("timeout = 1500", "timeout = 50")),
    requires_caller: true,
    has_unix_sockets: true,
    listens_early: false,
    names_reason: false,
};
