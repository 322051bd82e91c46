//! Clients that are malformed, slow or many.
use super::*;

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
