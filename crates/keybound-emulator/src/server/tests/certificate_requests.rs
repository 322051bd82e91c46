//! Requests of the client certificate: in the first handshake, after the request, and their limits.
use super::*;

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

/// A server with a short handshake timeout, and a client that completed the first handshake.
async fn connect_with_short_timeout(version: SslVersion) -> (Running, Client) {
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
