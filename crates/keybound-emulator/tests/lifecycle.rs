//! Start, ready line and stop of the emulator, through its API.
#![expect(clippy::unwrap_used, reason = "a test fails on an unexpected error")]

use keybound_emulator::{Config, Emulator, StartError};
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

fn address(origin: &str) -> SocketAddr {
    let (_, address) = origin.split_once("://").unwrap();
    address.parse().unwrap()
}

/// Sends one request over plain HTTP; returns status and body.
fn http(origin: &str, head: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address(origin)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let length = body.len();
    let request = format!(
        "{head}\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let status = response.split(' ').nth(1).unwrap().parse().unwrap();
    let (_, body) = response.split_once("\r\n\r\n").unwrap();
    (status, body.to_owned())
}

const METADATA: &str = "GET /metadata/identity/getplatformmetadata?cred-api-version=2.0 HTTP/1.1\r\nMetadata: true\r\n\
                        x-ms-client-request-id: 5a5a5a5a-0000-4000-8000-00000000dddd";

/// The status of the response to a request for a target and a host.
fn status_of(origin: &str, target: &str, host: &str) -> u16 {
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nMetadata: true\r\n\
         x-ms-client-request-id: 5a5a5a5a-0000-4000-8000-00000000dddd\r\nConnection: close\r\n\r\n"
    );
    let mut response = Vec::new();
    let mut tcp = TcpStream::connect(address(origin)).unwrap();
    if origin.starts_with("https") {
        let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
        connector.set_verify(SslVerifyMode::NONE);
        let mut stream = connector.build().connect("localhost", tcp).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream.read_to_end(&mut response).unwrap();
    } else {
        tcp.write_all(request.as_bytes()).unwrap();
        tcp.read_to_end(&mut response).unwrap();
    }
    let response = String::from_utf8(response).unwrap();
    response.split(' ').nth(1).unwrap().parse().unwrap()
}

/// DNS rebinding: a web page makes a browser send requests to loopback under another host name.
#[test]
fn every_service_rejects_requests_for_other_hosts() {
    let emulator = Emulator::start(Config::default()).unwrap();
    let ready = emulator.ready();
    for origin in [
        &ready.imds,
        &ready.sts,
        &ready.maa,
        &ready.vault,
        &ready.graph,
        &ready.app_service,
        &ready.service_fabric,
        &ready.arc,
        &ready.machine_learning,
        &ready.cloud_shell,
        &ready.control.url,
    ] {
        let (scheme, own) = origin.split_once("://").unwrap();
        for host in [
            "evil.example",
            "evil.example:80",
            "10.0.0.1",
            "localhost.evil.example",
        ] {
            assert_eq!(status_of(origin, "/", host), 421, "{origin} {host}");
            let url = format!("{scheme}://{host}/");
            assert_eq!(status_of(origin, &url, own), 421, "{origin} {url}");
        }
        for (target, host) in [
            ("/", own),
            ("/", "LOCALHOST."),
            (&*format!("{origin}/"), own),
        ] {
            let status = status_of(origin, target, host);
            let expected: &[u16] = match *origin == ready.control.url {
                true => &[200],
                false => &[401, 404],
            };
            assert!(
                expected.contains(&status),
                "{origin} {target} {host}: {status}"
            );
        }
        let is_imds = *origin == ready.imds;
        let status = status_of(origin, "/", "169.254.169.254");
        assert_eq!(status, if is_imds { 404 } else { 421 }, "{origin}");
    }
}

/// Clients with a fixed address of IMDS reach the emulator as their HTTP proxy.
#[test]
fn imds_serves_clients_that_use_it_as_proxy() {
    let emulator = Emulator::start(Config::default()).unwrap();
    let path = "/metadata/identity/getplatformmetadata?cred-api-version=2.0";
    for host in ["169.254.169.254", "imds.invalid"] {
        let url = format!("http://{host}{path}");
        assert_eq!(status_of(&emulator.ready().imds, &url, host), 200, "{host}");
    }
    let record = emulator.records().pop().unwrap();
    assert_eq!(
        (record.leg, record.path.as_str()),
        ("metadata", path.split_once('?').unwrap().0)
    );
}

/// Repeated in case another program uses one of the free ports.
#[test]
fn listens_from_start_until_drop() {
    let mut listening = Vec::new();
    for _ in 0..5 {
        listening = listening_after_shutdown();
        if listening.is_empty() {
            break;
        }
    }
    assert!(listening.is_empty(), "{listening:?} still listen");
}

fn listening_after_shutdown() -> Vec<String> {
    let emulator = Emulator::start(Config::default()).unwrap();
    let ready = emulator.ready().clone();
    let all = [
        &ready.imds,
        &ready.sts,
        &ready.maa,
        &ready.vault,
        &ready.graph,
        &ready.control.url,
    ];
    for origin in all {
        TcpStream::connect(address(origin)).unwrap();
    }
    let (status, body) = http(&ready.imds, METADATA, "");
    assert_eq!(status, 200);
    let metadata: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(metadata["attestationEndpoint"], ready.maa.as_str());
    assert_eq!(emulator.counts()["metadata"], 1);
    assert!(ready.ca_file.exists());
    emulator.shutdown();
    assert!(!ready.ca_file.exists());
    let listening = |origin: &&&String| TcpStream::connect(address(origin)).is_ok();
    all.iter()
        .filter(listening)
        .map(|origin| (*origin).clone())
        .collect()
}

#[test]
fn starts_within_300_ms() {
    let mut durations = Vec::new();
    // Repeated, for a busy machine.
    for _ in 0..50 {
        let start = Instant::now();
        let emulator = Emulator::start(Config::default()).unwrap();
        durations.push(start.elapsed());
        drop(emulator);
        if durations.last() < Some(&Duration::from_millis(300)) {
            return;
        }
    }
    panic!("{durations:?}");
}

#[test]
fn drop_does_not_wait_for_clients_or_keys() {
    let mut config = Config::default();
    config.faults = vec!["metadata=hang".parse().unwrap()];
    let emulator = Emulator::start(config).unwrap();
    let mut stream = TcpStream::connect(address(&emulator.ready().imds)).unwrap();
    stream
        .write_all(format!("{METADATA}\r\nHost: localhost\r\n\r\n").as_bytes())
        .unwrap();
    while emulator.counts().is_empty() {
        std::thread::yield_now();
    }
    let start = Instant::now();
    drop(emulator);
    assert!(start.elapsed() < Duration::from_secs(30));
    // The connection of the client is closed.
    assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
}

#[test]
fn ready_line_contains_all_addresses() {
    let emulator = Emulator::start(Config::default()).unwrap();
    let ready = emulator.ready();
    let line = serde_json::to_string(ready).unwrap();
    assert!(!line.contains('\n'));
    let json: Value = serde_json::from_str(&line).unwrap();
    let mut members: Vec<_> = json
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    members.sort_unstable();
    assert_eq!(
        members,
        [
            "app_service",
            "arc",
            "ca_file",
            "cloud_shell",
            "control",
            "env",
            "event",
            "graph",
            "imds",
            "maa",
            "machine_learning",
            "service_fabric",
            "service_fabric_certificate",
            "sources",
            "sts",
            "vault"
        ]
    );
    assert_eq!(json["event"], "ready");
    let https = ["sts", "maa", "vault", "graph", "service_fabric"];
    let http = [
        "imds",
        "app_service",
        "arc",
        "machine_learning",
        "cloud_shell",
    ];
    for (members, scheme) in [(&https[..], "https"), (&http[..], "http")] {
        for member in members {
            let origin = json[member].as_str().unwrap();
            let expected = format!("{scheme}://127.0.0.1:");
            assert!(origin.starts_with(&expected), "{member} {origin}");
        }
    }
    let env = &json["env"];
    assert_eq!(env["AZURE_POD_IDENTITY_AUTHORITY_HOST"], json["imds"]);
    assert_eq!(env["KEYBOUND_CA_FILE"], json["ca_file"]);
    assert_eq!(env["KEYBOUND_EMULATOR_VAULT"], json["vault"]);
    assert_eq!(env["KEYBOUND_EMULATOR_GRAPH"], json["graph"]);
    assert_eq!(env["KEYBOUND_EMULATOR_STS"], json["sts"]);
    assert_eq!(std::fs::read(&ready.ca_file).unwrap(), emulator.ca_pem());
    let shown = format!("{ready:?} {:?} {emulator:?}", ready.control);
    assert!(!shown.contains(&ready.control.secret));
}

#[test]
fn control_endpoint_accepts_its_secret() {
    let emulator = Emulator::start(Config::default()).unwrap();
    let control = &emulator.ready().control;
    let head = |method: &str, path: &str| {
        format!(
            "{method} {path} HTTP/1.1\r\nAuthorization: Bearer {}",
            control.secret
        )
    };
    let (status, _) = http(
        &control.url,
        "GET /records HTTP/1.1\r\nAuthorization: Bearer x",
        "",
    );
    assert_eq!(status, 404);
    let (status, body) = http(
        &control.url,
        &head("POST", "/faults"),
        r#"{"faults": ["metadata=status:503,Retry-After=7*1"]}"#,
    );
    assert_eq!(
        (status, body.contains("Retry-After=7")),
        (200, true),
        "{body}"
    );
    assert_eq!(
        emulator.faults()[0].to_string(),
        "metadata=status:503,Retry-After=7*1"
    );
    assert_eq!(http(&emulator.ready().imds, METADATA, "").0, 503);
    assert_eq!(http(&emulator.ready().imds, METADATA, "").0, 200);
    let (_, body) = http(&control.url, &head("GET", "/records?leg=metadata"), "");
    let records: Value = serde_json::from_str(&body).unwrap();
    let statuses: Vec<_> = records["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| &record["status"])
        .collect();
    assert_eq!(statuses, [503, 200]);
    let (_, body) = http(
        &control.url,
        &head("POST", "/clock"),
        r#"{"advance_seconds": 60}"#,
    );
    assert!(body.contains("\"offset_seconds\":60"));
    assert_eq!(emulator.clock().offset_seconds(), 60);
    emulator.inject("metadata=close".parse().unwrap()).unwrap();
    assert_eq!(http(&control.url, &head("POST", "/reset"), "").0, 200);
    assert!(emulator.faults().is_empty() && emulator.records().is_empty());
    assert_eq!(emulator.clock().offset_seconds(), 0);
}

#[test]
fn rejects_other_addresses_and_used_ports() {
    let mut config = Config::default();
    config.network.bind = "0.0.0.0".parse().unwrap();
    match Emulator::start(config) {
        Err(StartError::Config(error)) => assert!(error.to_string().contains("loopback")),
        other => panic!("{other:?}"),
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = Config::default();
    config.network.vault_port = listener.local_addr().unwrap().port();
    match Emulator::start(config) {
        Err(error @ StartError::Listen { .. }) => {
            assert_eq!(
                error.to_string(),
                format!("cannot listen at {}", listener.local_addr().unwrap())
            );
        }
        other => panic!("{other:?}"),
    }
}

/// The body is never sent: a read of it would fail by timeout.
#[test]
fn control_endpoint_reads_no_body_without_the_secret() {
    let emulator = Emulator::start(Config::default()).unwrap();
    for framing in ["Content-Length: 4000000", "Transfer-Encoding: chunked"] {
        for authorization in ["", "Authorization: Bearer wrong\r\n"] {
            let mut stream = TcpStream::connect(address(&emulator.ready().control.url)).unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(15)))
                .unwrap();
            let head = format!(
                "POST /reset HTTP/1.1\r\nHost: localhost\r\n{authorization}{framing}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).unwrap();
            let mut response = String::new();
            stream.read_to_string(&mut response).unwrap();
            assert!(response.starts_with("HTTP/1.1 404 "), "{head}: {response}");
        }
    }
}

#[test]
fn uses_localhost_in_urls_of_tls_services() {
    let mut config = Config::default();
    config.network.host = keybound_emulator::HostName::Localhost;
    let emulator = Emulator::start(config).unwrap();
    let ready = emulator.ready();
    for origin in [&ready.sts, &ready.maa, &ready.vault, &ready.graph] {
        assert!(origin.starts_with("https://localhost:"), "{origin}");
    }
    // Another program may listen on the other address of localhost, and would receive the secret.
    for origin in [&ready.imds, &ready.control.url] {
        assert!(origin.starts_with("http://127.0.0.1:"), "{origin}");
    }
    let (_, body) = http(&ready.imds, METADATA, "");
    assert!(body.contains("https://localhost:"), "{body}");
}

/// Other systems than Linux have further loopback addresses only by configuration.
#[cfg(target_os = "linux")]
#[test]
fn certificate_covers_every_bind_address() {
    for bind in ["127.0.0.2", "127.255.255.254", "::1", "127.0.0.1"] {
        let mut config = Config::default();
        config.network.bind = bind.parse().unwrap();
        let emulator = match Emulator::start(config) {
            Ok(emulator) => emulator,
            // A host without IPv6.
            Err(StartError::Listen { .. }) if bind == "::1" => continue,
            Err(other) => panic!("{other:?}"),
        };
        let ready = emulator.ready();
        let ca = openssl::x509::X509::from_pem(emulator.ca_pem()).unwrap();
        for origin in [&ready.sts, &ready.maa, &ready.vault, &ready.graph] {
            let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
            connector.cert_store_mut().add_cert(ca.clone()).unwrap();
            let tcp = TcpStream::connect(address(origin)).unwrap();
            // Checks the certificate for the host of the URL.
            connector.build().connect(bind, tcp).unwrap();
            assert!(origin.contains(bind), "{origin}");
        }
    }
}

#[test]
fn loads_a_stored_ca_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        Emulator::builder()
            .state_dir(folder.path())
            .start()
            .unwrap()
    };
    let first = start().ca_pem().to_vec();
    let second = start();
    assert_eq!(second.ca_pem(), first);
    assert_eq!(second.ready().ca_file, folder.path().join("ca.pem"));
}

#[cfg(unix)]
#[test]
fn ca_path_is_absolute() {
    let folder = tempfile::tempdir().unwrap();
    let to_root = "../".repeat(std::env::current_dir().unwrap().components().count());
    let relative = format!("{to_root}{}", folder.path().display());
    let emulator = Emulator::builder().state_dir(relative).start().unwrap();
    let path = &emulator.ready().env["KEYBOUND_CA_FILE"];
    assert!(emulator.ready().ca_file.is_absolute());
    assert!(std::path::Path::new(path).is_absolute(), "{path}");
}

#[test]
fn runs_several_emulators_concurrently() {
    let emulators: Vec<_> = (0..3)
        .map(|_| Emulator::start(Config::default()).unwrap())
        .collect();
    for emulator in &emulators {
        assert_eq!(http(&emulator.ready().imds, METADATA, "").0, 200);
    }
    assert!(
        emulators
            .iter()
            .all(|emulator| emulator.counts()["metadata"] == 1)
    );
    assert_ne!(emulators[0].ca_pem(), emulators[1].ca_pem());
}

#[tokio::test(flavor = "current_thread")]
async fn runs_in_an_asynchronous_program() {
    let emulator = Emulator::start(Config::default()).unwrap();
    let imds = emulator.ready().imds.clone();
    let (status, _) = tokio::task::spawn_blocking(move || http(&imds, METADATA, ""))
        .await
        .unwrap();
    assert_eq!(status, 200);
    drop(emulator);
}
