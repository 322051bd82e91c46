//! Responses without a body, and the faults of replies.
use super::*;

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
