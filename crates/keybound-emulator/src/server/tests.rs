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
async fn any_certificate_of_the_first_handshake_reaches_the_handler() {
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
async fn the_certificate_is_requested_after_the_request_on_a_reused_connection() {
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
async fn a_client_that_answers_without_a_certificate_can_be_asked_again() {
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
async fn a_tls13_client_that_cannot_be_asked_is_answered_as_unknown() {
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
async fn a_client_that_refuses_to_renegotiate_loses_its_connection_only() {
    let server = start(&settings(ClientCertificate::OnDemand), Echo).await;
    let pair = self_signed("me", 1);
    let stubborn = ClientOptions {
        no_renegotiation: true,
        ..ClientOptions::with(&pair)
    };
    let mut client = Client::connect(server.address, SslVersion::TLS1_2, &stubborn)
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
async fn a_body_too_long_to_cross_the_renegotiation_passes_once_the_client_is_known() {
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
async fn a_request_sent_before_the_client_was_known_never_counts_as_known() {
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
async fn a_waiting_client_gets_100_continue_before_the_certificate_request() {
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
async fn a_certificate_is_refused_with_the_alert_that_says_why() {
    for (name, words) in [
        ("bad_certificate", "bad certificate"),
        ("certificate_revoked", "certificate revoked"),
        ("certificate_expired", "certificate expired"),
        ("certificate_unknown", "certificate unknown"),
        ("unknown_ca", "unknown ca"),
        ("unsupported_certificate", "unsupported certificate"),
        ("handshake_failure", "handshake failure"),
    ] {
        let greet = move || refusing(name);
        let first = start(&settings(ClientCertificate::First), EchoWithOptions(greet)).await;
        let later = start(
            &settings(ClientCertificate::OnDemand),
            EchoWithOptions(greet),
        )
        .await;
        let options = ClientOptions::with(&self_signed("me", 1));
        for version in BOTH {
            let error = first_answer(first.address, version, &options)
                .await
                .unwrap_err();
            assert!(
                format!("{error:?}").contains(words),
                "{version:?} {error:?}"
            );
            let mut client = Client::connect(later.address, version, &options)
                .await
                .unwrap();
            assert_eq!(client.get("/", "").await.unwrap().status, 200);
            let error = client.get("/", WANT).await.unwrap_err();
            assert!(
                format!("{error:?}").contains(words),
                "{version:?} {error:?}"
            );
        }
    }
    assert_eq!(CertificateAlert::named("close_notify"), None);
}

/// Alerts that OpenSSL does not send of its own accord, whatever the cipher.
#[tokio::test]
async fn a_certificate_is_refused_with_alerts_that_openssl_has_no_reason_for() {
    for (name, words) in [
        ("access_denied", "access denied"),
        ("certificate_required", "certificate required"),
    ] {
        let greet = move || refusing(name);
        let server = start(&settings(ClientCertificate::First), EchoWithOptions(greet)).await;
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
            let error = first_answer(server.address, version, &options)
                .await
                .unwrap_err();
            assert!(
                format!("{error:?}").contains(words),
                "{version:?} {cipher:?} {error:?}"
            );
            let anonymous = ClientOptions::default();
            let response = first_answer(server.address, version, &anonymous).await;
            assert_eq!(response.unwrap(), 200, "nothing was presented");
        }
    }
}

fn refusing(alert: &str) -> ConnectionOptions {
    let alert = CertificateAlert::named(alert);
    ConnectionOptions {
        check: Some(Arc::new(move |_| alert)),
        ..ConnectionOptions::default()
    }
}

#[tokio::test]
async fn a_options_takes_the_place_of_the_handshake() {
    let options = ClientOptions::default();
    for silence in [Refusal::Close, Refusal::Reset, Refusal::Hang] {
        let greet = move || ConnectionOptions {
            refusal: Some(silence),
            ..ConnectionOptions::default()
        };
        let server = start(&settings(ClientCertificate::First), EchoWithOptions(greet)).await;
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
async fn a_options_shows_another_certificate_and_may_never_ask() {
    let other = self_signed("other", 1);
    let shown = other.certificate.clone();
    let greet = move || ConnectionOptions {
        identity: Some(other.clone()),
        no_certificate_request: true,
        ..ConnectionOptions::default()
    };
    let server = start(&settings(ClientCertificate::First), EchoWithOptions(greet)).await;
    let options = ClientOptions::with(&self_signed("me", 1));
    for version in BOTH {
        let mut client = Client::connect(server.address, version, &options)
            .await
            .unwrap();
        let seen = client.stream.ssl().peer_certificate().unwrap();
        assert_eq!(seen.to_der().unwrap(), shown.to_der().unwrap());
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
async fn only_the_versions_set_are_spoken() {
    for (versions, taken) in [
        (TlsVersionRange::Tls12, SslVersion::TLS1_2),
        (TlsVersionRange::Tls13, SslVersion::TLS1_3),
    ] {
        let mut settings = settings(ClientCertificate::First);
        settings.tls.versions = versions;
        let server = start(&settings, Echo).await;
        for version in BOTH {
            let options = ClientOptions::default();
            let response = first_answer(server.address, version, &options)
                .await
                .is_ok();
            assert_eq!(response, version == taken, "{versions:?}");
        }
    }
}

#[tokio::test]
async fn no_session_is_offered_for_resumption() {
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
async fn the_server_misbehaves_on_demand() {
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
        // Wine shuts a connection down before it closes it: the end is orderly there.
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
    assert!(hanging.is_err(), "an answer came");
}

#[tokio::test]
async fn answers_to_head_have_no_body() {
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
async fn hostile_clients_do_not_take_the_server_down() {
    let mut impatient = settings(ClientCertificate::OnDemand);
    impatient.timeouts.handshake = Duration::from_millis(200);
    let server = start(&impatient, Echo).await;
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
async fn a_request_that_stops_in_the_middle_is_answered_when_its_time_is_over() {
    for (is_of_head, bytes) in [
        (true, &b"GET / HTTP/1.1\r\nHo"[..]),
        (
            false,
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nab",
        ),
    ] {
        let mut answers = Vec::new();
        for patience in GROWING {
            let mut impatient = settings(ClientCertificate::OnDemand);
            match is_of_head {
                true => impatient.timeouts.head = patience,
                false => impatient.timeouts.body = patience,
            }
            let server = start(&impatient, Echo).await;
            let mut client = connect(&server, &ClientOptions::default()).await;
            // Where the machine is busy, the time of a head may be over before anything of it was sent.
            answers.push(client.send(bytes).await.map(|response| response.status));
            if let Some(Ok(_)) = answers.last() {
                break;
            }
        }
        assert!(matches!(answers.last(), Some(Ok(408))), "{answers:?}");
    }
}

#[tokio::test]
async fn a_client_that_is_silent_when_it_is_asked_is_let_go() {
    for version in BOTH {
        let (_server, mut client) = met_by_impatience(version).await;
        let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{WANT}\r\n");
        client.stream.write_all(request.as_bytes()).await.unwrap();
        // Below TLS, so that the client's half never sees that it is asked.
        let closed = client.stream.get_mut().read_to_end(&mut vec![]).await;
        assert!(
            closed.is_ok()
                || closed.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
        );
    }
}

// The openssl program is an oracle on Unix only.
#[cfg(unix)]
#[tokio::test]
async fn the_authorities_named_are_not_those_of_binding_certificates() {
    let server = start(&settings(ClientCertificate::First), Echo).await;
    let address = server.address.to_string();
    let asked = tokio::task::spawn_blocking(move || {
        std::process::Command::new("openssl")
            .args(["s_client", "-tls1_2", "-connect", &address])
            .stdin(std::process::Stdio::null())
            .output()
            .expect("this test needs the openssl program")
    });
    let output = String::from_utf8_lossy(&asked.await.unwrap().stdout).into_owned();
    let (_, names) = output
        .split_once("Acceptable client certificate CA names\n")
        .expect("the server asks for a certificate and names authorities");
    // Newer programs write the name without the spaces.
    let first = names.lines().next().unwrap().replace(' ', "");
    assert_eq!(first, "CN=Anauthorityofotherclients(simulated)");
}

#[tokio::test]
async fn many_clients_are_served_side_by_side() {
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

/// A server with little time for handshakes, and a client that was quick enough for the first one.
async fn met_by_impatience(version: SslVersion) -> (super::testing::Running, Client) {
    for patience in GROWING {
        let mut impatient = settings(ClientCertificate::OnDemand);
        impatient.timeouts.handshake = patience;
        let server = start(&impatient, Echo).await;
        let options = ClientOptions::default();
        if let Ok(client) = Client::connect(server.address, version, &options).await {
            return (server, client);
        }
    }
    panic!("no handshake was ever quick enough");
}

/// Times that are over soon, and longer ones for a machine that is busy.
const GROWING: [Duration; 4] = [
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

/// Connects and asks: with TLS 1.3 a client learns only with the first answer that the server refused it.
async fn first_answer(
    address: std::net::SocketAddr,
    version: SslVersion,
    options: &ClientOptions,
) -> io::Result<u16> {
    let mut client = Client::connect(address, version, options).await?;
    Ok(client.get("/", "").await?.status)
}

/// A refused handshake leaves bytes of the client unread (CertificateVerify, Finished), and the client may send its request
/// before or after the alert reaches it.
#[tokio::test]
async fn a_refused_certificate_never_ends_in_a_reset() {
    let greet = || refusing("certificate_revoked");
    let server = start(&settings(ClientCertificate::First), EchoWithOptions(greet)).await;
    let options = ClientOptions::with(&self_signed("me", 1));
    for run in 0..100 {
        for (version, waits) in [(BOTH[0], false), (BOTH[1], false), (BOTH[1], true)] {
            let refused = async {
                let mut client = Client::connect(server.address, version, &options).await?;
                if waits {
                    client.stream.get_ref().peek(&mut [0]).await?;
                }
                client.get("/", "").await
            };
            let error = refused.await.unwrap_err();
            assert!(
                format!("{error:?}").contains("certificate revoked"),
                "run {run}, {version:?}, {waits}: {error:?}"
            );
        }
    }
}

/// Bytes that the server does not read are on their way when it closes: what it sent before is not lost, and the end is not a
/// reset.
#[tokio::test]
async fn a_close_with_unread_bytes_is_an_orderly_end() {
    let close = || ConnectionOptions {
        refusal: Some(Refusal::Close),
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
