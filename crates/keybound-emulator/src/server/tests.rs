use super::certificate_alert::CertificateAlert;
use super::testing::{Client, ClientOptions, Echo, EchoWithOptions, self_signed, settings, start};
use super::{ClientCertificate, ConnectionOptions, Refusal};
use crate::config::TlsVersionRange;
use openssl::ssl::SslVersion;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const BOTH: [SslVersion; 2] = [SslVersion::TLS1_2, SslVersion::TLS1_3];
const WANT: &str = "x-want: 1\r\n";

#[tokio::test]
async fn passes_any_certificate_of_the_first_handshake_to_the_handler() {
    let server = start(&settings(ClientCertificate::First), Echo).await;
    for version in BOTH {
        for pair in [self_signed("foreign", 1), self_signed("expired", -1)] {
            let options = ClientOptions::with(&pair);
            let mut client = Client::connect(server.address, version, &options)
                .await
                .unwrap();
            let response = client.get("/", "").await.unwrap();
            assert_eq!(response.status, 200);
            assert!(!response.text().starts_with("none"), "{}", response.text());
        }
        let options = ClientOptions::default();
        let mut client = Client::connect(server.address, version, &options)
            .await
            .unwrap();
        assert!(
            client
                .get("/", "")
                .await
                .unwrap()
                .text()
                .starts_with("none ")
        );
    }
}

#[tokio::test]
async fn requests_certificate_after_the_request_on_a_reused_connection() {
    let server = start(&settings(ClientCertificate::OnDemand), Echo).await;
    let options = ClientOptions::with(&self_signed("me", 1));
    for (version, word) in [(BOTH[0], "TLSv1.2"), (BOTH[1], "TLSv1.3")] {
        let mut client = Client::connect(server.address, version, &options)
            .await
            .unwrap();
        assert_eq!(
            client.get("/", "").await.unwrap().text(),
            format!("none 0 {word}")
        );
        for _ in 0..2 {
            let response = client.post("/", WANT, &[b'x'; 40_000]).await.unwrap();
            assert_eq!(response.text(), format!("me 40000 {word}"));
        }
        assert_eq!(
            client.get("/", "").await.unwrap().text(),
            format!("me 0 {word}")
        );
    }
}

#[tokio::test]
async fn requests_certificate_again_from_a_client_without_one() {
    let server = start(&settings(ClientCertificate::OnDemand), Echo).await;
    for version in BOTH {
        let options = ClientOptions::default();
        let mut client = Client::connect(server.address, version, &options)
            .await
            .unwrap();
        for _ in 0..3 {
            let response = client.get("/", WANT).await.unwrap();
            assert!(response.text().starts_with("none "), "{}", response.text());
        }
    }
}

#[tokio::test]
async fn handles_a_tls13_client_without_post_handshake_auth_as_anonymous() {
    let server = start(&settings(ClientCertificate::OnDemand), Echo).await;
    let options = ClientOptions {
        no_post_handshake_auth: true,
        ..ClientOptions::with(&self_signed("me", 1))
    };
    let mut client = Client::connect(server.address, SslVersion::TLS1_3, &options)
        .await
        .unwrap();
    for _ in 0..2 {
        assert_eq!(
            client.get("/", WANT).await.unwrap().text(),
            "none 0 TLSv1.3"
        );
    }
}

#[tokio::test]
async fn refused_renegotiation_closes_only_its_connection() {
    let server = start(&settings(ClientCertificate::OnDemand), Echo).await;
    let pair = self_signed("me", 1);
    let no_renegotiation = ClientOptions {
        no_renegotiation: true,
        ..ClientOptions::with(&pair)
    };
    let mut client = Client::connect(server.address, SslVersion::TLS1_2, &no_renegotiation)
        .await
        .unwrap();
    assert!(client.get("/", WANT).await.is_err());
    let options = ClientOptions::with(&pair);
    let mut client = Client::connect(server.address, SslVersion::TLS1_2, &options)
        .await
        .unwrap();
    assert_eq!(client.get("/", WANT).await.unwrap().text(), "me 0 TLSv1.2");
}

#[tokio::test]
async fn limits_the_body_only_before_authentication() {
    let server = start(&settings(ClientCertificate::OnDemand), Echo).await;
    let options = ClientOptions::with(&self_signed("me", 1));
    for version in BOTH {
        let mut client = Client::connect(server.address, version, &options)
            .await
            .unwrap();
        let long = vec![b'x'; 1024 * 1024];
        assert_eq!(client.post("/", WANT, &long).await.unwrap().status, 413);
        let mut client = Client::connect(server.address, version, &options)
            .await
            .unwrap();
        client.get("/", WANT).await.unwrap();
        let response = client.post("/", WANT, &long).await.unwrap();
        assert!(
            response.text().starts_with("me 1048576 "),
            "{}",
            response.text()
        );
    }
}

#[tokio::test]
async fn rejects_a_request_pipelined_before_authentication() {
    let server = start(&settings(ClientCertificate::OnDemand), Echo).await;
    let options = ClientOptions::with(&self_signed("me", 1));
    for version in BOTH {
        let mut client = Client::connect(server.address, version, &options)
            .await
            .unwrap();
        let two = format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\n{WANT}\r\nGET /2 HTTP/1.1\r\nHost: localhost\r\n\r\n"
        );
        assert!(client.send(two.as_bytes()).await.is_err());
    }
}

#[tokio::test]
async fn sends_100_continue_before_the_certificate_request() {
    let server = start(&settings(ClientCertificate::OnDemand), Echo).await;
    let options = ClientOptions::with(&self_signed("me", 1));
    let mut client = Client::connect(server.address, SslVersion::TLS1_2, &options)
        .await
        .unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\n{WANT}Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    );
    assert_eq!(client.send(head.as_bytes()).await.unwrap().status, 100);
    assert_eq!(client.send(b"abc").await.unwrap().text(), "me 3 TLSv1.2");
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 9999999\r\n\r\n";
    assert_eq!(client.send(head.as_bytes()).await.unwrap().status, 413);
}

#[tokio::test]
async fn rejects_a_certificate_with_the_given_alert() {
    for (name, part) in [
        ("bad_certificate", "bad certificate"),
        ("certificate_revoked", "certificate revoked"),
        ("certificate_expired", "certificate expired"),
        ("certificate_unknown", "certificate unknown"),
        ("unknown_ca", "unknown ca"),
        ("unsupported_certificate", "unsupported certificate"),
        ("handshake_failure", "handshake failure"),
    ] {
        let connection = move || rejecting(name);
        let first = start(
            &settings(ClientCertificate::First),
            EchoWithOptions(connection),
        )
        .await;
        let later = start(
            &settings(ClientCertificate::OnDemand),
            EchoWithOptions(connection),
        )
        .await;
        let options = ClientOptions::with(&self_signed("me", 1));
        for version in BOTH {
            let error = first_status(first.address, version, &options)
                .await
                .unwrap_err();
            assert!(format!("{error:?}").contains(part), "{version:?} {error:?}");
            let mut client = Client::connect(later.address, version, &options)
                .await
                .unwrap();
            assert_eq!(client.get("/", "").await.unwrap().status, 200);
            let error = client.get("/", WANT).await.unwrap_err();
            assert!(format!("{error:?}").contains(part), "{version:?} {error:?}");
        }
    }
    assert_eq!(CertificateAlert::named("close_notify"), None);
}

/// Alerts that OpenSSL does not send, with every cipher suite.
#[tokio::test]
async fn rejects_a_certificate_with_alerts_that_openssl_does_not_send() {
    for (name, part) in [
        ("access_denied", "access denied"),
        ("certificate_required", "certificate required"),
    ] {
        let connection = move || rejecting(name);
        let server = start(
            &settings(ClientCertificate::First),
            EchoWithOptions(connection),
        )
        .await;
        for (version, cipher) in [
            (BOTH[0], None),
            (BOTH[1], None),
            (BOTH[1], Some("TLS_AES_128_GCM_SHA256")),
            (BOTH[1], Some("TLS_AES_256_GCM_SHA384")),
            (BOTH[1], Some("TLS_CHACHA20_POLY1305_SHA256")),
        ] {
            let options = ClientOptions {
                cipher,
                ..ClientOptions::with(&self_signed("me", 1))
            };
            let error = first_status(server.address, version, &options)
                .await
                .unwrap_err();
            assert!(
                format!("{error:?}").contains(part),
                "{version:?} {cipher:?} {error:?}"
            );
            let anonymous = ClientOptions::default();
            let response = first_status(server.address, version, &anonymous).await;
            assert_eq!(response.unwrap(), 200, "no certificate is presented");
        }
    }
}

fn rejecting(alert: &str) -> ConnectionOptions {
    let alert = CertificateAlert::named(alert);
    ConnectionOptions {
        check: Some(Arc::new(move |_| alert)),
        ..ConnectionOptions::default()
    }
}

#[tokio::test]
async fn refuses_a_connection_without_a_handshake() {
    let options = ClientOptions::default();
    for silence in [Refusal::Close, Refusal::Reset, Refusal::Hang] {
        let connection = move || ConnectionOptions {
            problem: Some(silence),
            ..ConnectionOptions::default()
        };
        let server = start(
            &settings(ClientCertificate::First),
            EchoWithOptions(connection),
        )
        .await;
        let connecting = Client::connect(server.address, SslVersion::TLS1_3, &options);
        match silence {
            Refusal::Hang => {
                let connected = tokio::time::timeout(Duration::from_millis(50), connecting);
                assert!(connected.await.is_err());
            }
            Refusal::Close | Refusal::Reset => assert!(connecting.await.is_err()),
        }
    }
}

#[tokio::test]
async fn presents_another_certificate_and_requests_none() {
    let other = self_signed("other", 1);
    let shown = other.certificate.clone();
    let connection = move || ConnectionOptions {
        identity: Some(other.clone()),
        no_certificate_request: true,
        ..ConnectionOptions::default()
    };
    let server = start(
        &settings(ClientCertificate::First),
        EchoWithOptions(connection),
    )
    .await;
    let options = ClientOptions::with(&self_signed("me", 1));
    for version in BOTH {
        let mut client = Client::connect(server.address, version, &options)
            .await
            .unwrap();
        let presented = client.stream.ssl().peer_certificate().unwrap();
        assert_eq!(presented.to_der().unwrap(), shown.to_der().unwrap());
        assert!(
            client
                .get("/", "")
                .await
                .unwrap()
                .text()
                .starts_with("none ")
        );
    }
}

#[tokio::test]
async fn accepts_only_the_configured_tls_versions() {
    for (versions, taken) in [
        (TlsVersionRange::Tls12, SslVersion::TLS1_2),
        (TlsVersionRange::Tls13, SslVersion::TLS1_3),
    ] {
        let mut limited = settings(ClientCertificate::First);
        limited.tls.versions = versions;
        let server = start(&limited, Echo).await;
        for version in BOTH {
            let options = ClientOptions::default();
            let response = first_status(server.address, version, &options)
                .await
                .is_ok();
            assert_eq!(response, version == taken, "{versions:?}");
        }
    }
}

#[tokio::test]
async fn offers_no_session_resumption() {
    let server = start(&settings(ClientCertificate::First), Echo).await;
    let options = ClientOptions::with(&self_signed("me", 1));
    for version in BOTH {
        let mut client = Client::connect(server.address, version, &options)
            .await
            .unwrap();
        assert_eq!(client.get("/", "").await.unwrap().status, 200);
        // A ticket would have left an id too.
        assert!(client.stream.ssl().session().unwrap().id().is_empty());
    }
}

#[tokio::test]
async fn sends_faulty_replies() {
    let server = start(&settings(ClientCertificate::First), Echo).await;
    let options = ClientOptions::default();
    let connect = || Client::connect(server.address, SslVersion::TLS1_2, &options);
    let oversized = connect()
        .await
        .unwrap()
        .get("/oversized", "")
        .await
        .unwrap();
    assert_eq!(oversized.body.len(), 1_000_000);
    for path in ["/truncated", "/close", "/reset"] {
        let error = connect().await.unwrap().get(path, "").await.unwrap_err();
        // Wine shuts a connection down before it closes it, so that there is no reset.
        if path == "/reset" && !cfg!(windows) {
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
    }
    let mut client = connect().await.unwrap();
    client
        .stream
        .write_all(b"GET /garbage HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut garbage = vec![];
    client.stream.read_to_end(&mut garbage).await.unwrap();
    assert_eq!(garbage, b"\0\xff no http");
    let mut client = connect().await.unwrap();
    let hanging = tokio::time::timeout(Duration::from_millis(50), client.get("/hang", "")).await;
    assert!(hanging.is_err(), "a response was received");
}

#[tokio::test]
async fn responses_to_head_have_no_body() {
    let server = start(&settings(ClientCertificate::First), Echo).await;
    let options = ClientOptions::default();
    let mut client = Client::connect(server.address, SslVersion::TLS1_3, &options)
        .await
        .unwrap();
    let requests =
        "HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\nGET /close HTTP/1.1\r\nHost: localhost\r\n\r\n";
    client.stream.write_all(requests.as_bytes()).await.unwrap();
    let mut bytes = vec![];
    let _ = client.stream.read_to_end(&mut bytes).await;
    let text = String::from_utf8(bytes).unwrap();
    assert!(
        text.contains("content-length: 14\r\n") && text.ends_with("\r\n\r\n"),
        "{text:?}"
    );
}

#[tokio::test]
async fn survives_malformed_and_silent_clients() {
    let mut limited = settings(ClientCertificate::OnDemand);
    limited.timeouts.handshake = Duration::from_millis(200);
    let server = start(&limited, Echo).await;
    let mut plain = TcpStream::connect(server.address).await.unwrap();
    plain
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let _ = plain.read_to_end(&mut vec![]).await;
    drop(TcpStream::connect(server.address).await.unwrap());
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    assert!(matches!(silent.read(&mut [0]).await, Ok(0) | Err(_)));
    let server = start(&settings(ClientCertificate::OnDemand), Echo).await;
    let options = ClientOptions::default();
    for bytes in [
        &b"\0\0\0\r\n\r\n"[..],
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let mut client = connect(&server, &options).await;
        assert_eq!(client.send(bytes).await.unwrap().status, 400);
    }
    let mut client = connect(&server, &options).await;
    assert_eq!(client.get("/", "").await.unwrap().status, 200);
}

#[tokio::test]
async fn responds_with_408_to_an_incomplete_request() {
    for (is_of_head, bytes) in [
        (true, &b"GET / HTTP/1.1\r\nHo"[..]),
        (
            false,
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nab",
        ),
    ] {
        let mut statuses = Vec::new();
        for limit in INCREASING_TIMEOUTS {
            let mut limited = settings(ClientCertificate::OnDemand);
            match is_of_head {
                true => limited.timeouts.head = limit,
                false => limited.timeouts.body = limit,
            }
            let server = start(&limited, Echo).await;
            let mut client = connect(&server, &ClientOptions::default()).await;
            // On a busy machine the head may time out before any of it has been sent.
            statuses.push(client.send(bytes).await.map(|response| response.status));
            if let Some(Ok(_)) = statuses.last() {
                break;
            }
        }
        assert!(matches!(statuses.last(), Some(Ok(408))), "{statuses:?}");
    }
}

#[tokio::test]
async fn closes_the_connection_of_a_client_that_ignores_the_certificate_request() {
    for version in BOTH {
        let (_server, mut client) = connect_with_short_timeout(version).await;
        let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{WANT}\r\n");
        client.stream.write_all(request.as_bytes()).await.unwrap();
        // Below TLS, so that the client's TLS does not process the request.
        let closed = client.stream.get_mut().read_to_end(&mut vec![]).await;
        assert!(
            closed.is_ok()
                || closed.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
        );
    }
}

// The openssl program is used on Unix only.
#[cfg(unix)]
#[tokio::test]
async fn certificate_request_does_not_name_the_issuer() {
    let server = start(&settings(ClientCertificate::First), Echo).await;
    let address = server.address.to_string();
    let output = tokio::task::spawn_blocking(move || {
        std::process::Command::new("openssl")
            .args(["s_client", "-tls1_2", "-connect", &address])
            .stdin(std::process::Stdio::null())
            .output()
            .expect("this test needs the openssl program")
    });
    let output = String::from_utf8_lossy(&output.await.unwrap().stdout).into_owned();
    let (_, names) = output
        .split_once("Acceptable client certificate CA names\n")
        .expect("the server requests a certificate and names authorities");
    // Newer programs write the name without the spaces.
    let first = names.lines().next().unwrap().replace(' ', "");
    assert_eq!(first, "CN=Anauthorityofotherclients(simulated)");
}

#[tokio::test]
async fn serves_clients_concurrently() {
    let server = start(&settings(ClientCertificate::OnDemand), Echo).await;
    let options = ClientOptions::with(&self_signed("me", 1));
    let mut hanging = connect(&server, &options).await;
    hanging
        .stream
        .write_all(b"GET /hang HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let calls = (0..40).map(|number| {
        let (address, options) = (server.address, &options);
        async move {
            let version = BOTH[number % 2];
            let mut client = Client::connect(address, version, options).await?;
            client.get("/", WANT).await
        }
    });
    for response in futures_util::future::join_all(calls).await {
        assert!(response.unwrap().text().starts_with("me 0 "));
    }
}

/// A server with a short handshake timeout, and a client that completed the first handshake.
async fn connect_with_short_timeout(version: SslVersion) -> (super::testing::Running, Client) {
    for limit in INCREASING_TIMEOUTS {
        let mut limited = settings(ClientCertificate::OnDemand);
        limited.timeouts.handshake = limit;
        let server = start(&limited, Echo).await;
        let options = ClientOptions::default();
        if let Ok(client) = Client::connect(server.address, version, &options).await {
            return (server, client);
        }
    }
    panic!("no handshake completed in time");
}

/// Short timeouts, and longer ones for a busy machine.
const INCREASING_TIMEOUTS: [Duration; 4] = [
    Duration::from_millis(200),
    Duration::from_millis(800),
    Duration::from_millis(3200),
    Duration::from_millis(12_800),
];

async fn connect(server: &super::testing::Running, options: &ClientOptions) -> Client {
    Client::connect(server.address, SslVersion::TLS1_2, options)
        .await
        .unwrap()
}

/// Connects and sends a request: with TLS 1.3 a client learns only with the first response that the server rejected its
/// certificate.
async fn first_status(
    address: std::net::SocketAddr,
    version: SslVersion,
    options: &ClientOptions,
) -> io::Result<u16> {
    let mut client = Client::connect(address, version, options).await?;
    Ok(client.get("/", "").await?.status)
}

/// A failed handshake leaves data of the client unread (CertificateVerify, Finished), and the client may send its request
/// before or after it receives the alert.
#[tokio::test]
async fn rejected_certificate_causes_no_reset() {
    let connection = || rejecting("certificate_revoked");
    let server = start(
        &settings(ClientCertificate::First),
        EchoWithOptions(connection),
    )
    .await;
    let options = ClientOptions::with(&self_signed("me", 1));
    for run in 0..100 {
        for (version, waits) in [(BOTH[0], false), (BOTH[1], false), (BOTH[1], true)] {
            let rejected = async {
                let mut client = Client::connect(server.address, version, &options).await?;
                if waits {
                    client.stream.get_ref().peek(&mut [0]).await?;
                }
                client.get("/", "").await
            };
            let error = rejected.await.unwrap_err();
            assert!(
                format!("{error:?}").contains("certificate revoked"),
                "run {run}, {version:?}, {waits}: {error:?}"
            );
        }
    }
}

/// A close with unread data from the client loses no data of the server and is not a reset.
#[tokio::test]
async fn close_with_unread_data_causes_no_reset() {
    let close = || ConnectionOptions {
        problem: Some(Refusal::Close),
        ..ConnectionOptions::default()
    };
    let closing = start(&settings(ClientCertificate::First), EchoWithOptions(close)).await;
    let echo = start(&settings(ClientCertificate::OnDemand), Echo).await;
    let unread = [b'x'; 50_000];
    for run in 0..20 {
        let mut silent = TcpStream::connect(closing.address).await.unwrap();
        silent.write_all(&unread).await.unwrap();
        let read = silent.read_to_end(&mut vec![]).await;
        assert_eq!(read.map_err(|error| error.kind()), Ok(0), "run {run}");
        for (path, response) in [("/close", false), ("/truncated", true), ("/garbage", true)] {
            let mut client = connect(&echo, &ClientOptions::default()).await;
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            let bytes = [request.as_bytes(), &unread].concat();
            client.stream.write_all(&bytes).await.unwrap();
            // Below TLS, where an end without close_notify is no error.
            let mut received = vec![];
            let read = client.stream.get_mut().read_to_end(&mut received).await;
            assert!(read.is_ok(), "run {run}, {path}: {read:?}");
            assert_eq!(!received.is_empty(), response, "run {run}, {path}");
        }
        let mut client = connect(&echo, &ClientOptions::default()).await;
        let request = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n";
        let bytes = [request.as_bytes(), &unread].concat();
        assert_eq!(client.send(&bytes).await.unwrap().status, 413, "run {run}");
    }
}
