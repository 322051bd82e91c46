//! Plain HTTP.
use crate::support::server::{Server, tcp_server};
use crate::support::{TEST_TIMEOUT, request};
use keybound_testing::http1::{read_request, write_response};
use keybound_transport::{RequestBody, TransportError, TransportErrorKind, send_plain};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;

fn uri(server: &Server) -> String {
    format!("http://127.0.0.1:{}/metadata?x=y", server.address.port())
}

async fn get(server: &Server) -> Result<(u16, String), TransportError> {
    let mut request = request("GET", &uri(server), RequestBody::empty());
    let response = send_plain(&mut request, TEST_TIMEOUT).await?;
    assert!(response.body().connection().is_none());
    let status = response.status().as_u16();
    let body = response.into_body().collect(1000).await?;
    Ok((status, String::from_utf8(body.to_vec()).unwrap()))
}

#[tokio::test]
async fn returns_responses_and_redirects() {
    let server = tcp_server(|mut stream, _, log| async move {
        let request = read_request(&mut stream).await.unwrap();
        log.lock().unwrap().push(request);
        write_response(
            &mut stream,
            "302 Found\r\nLocation: http://127.0.0.1:1/",
            "there",
        )
        .await;
    })
    .await;
    assert_eq!(get(&server).await.unwrap(), (302, "there".into()));
    let mut post = request("POST", &uri(&server), RequestBody::full("{}"));
    post.headers_mut()
        .insert("metadata", http::HeaderValue::from_static("true"));
    let response = send_plain(&mut post, TEST_TIMEOUT).await.unwrap();
    assert_eq!(response.status(), 302);
    let received = server.requests.lock().unwrap();
    assert_eq!(received.len(), 2);
    assert_eq!(received[1].path(), "/metadata?x=y");
    assert_eq!(received[1].header("metadata"), Some("true"));
    assert_eq!(
        (received[1].body, received[1].header("content-length")),
        (2, Some("2"))
    );
    let host = format!("127.0.0.1:{}", server.address.port());
    assert_eq!(received[0].header("host"), Some(host.as_str()));
}

#[tokio::test]
async fn accepts_http_uris_only() {
    for uri in [
        "https://127.0.0.1/",
        "http://u@127.0.0.1/",
        "/metadata",
        "ftp://a.b/",
    ] {
        let mut request = request("GET", uri, RequestBody::empty());
        let error = send_plain(&mut request, TEST_TIMEOUT).await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::InvalidRequest, "{uri}");
    }
}

#[tokio::test]
async fn enforces_limits() {
    let large = tcp_server(|mut stream, _, _| async move {
        read_request(&mut stream).await;
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let _ = stream.write_all(head).await;
        while stream.write_all(b"5\r\nabcde\r\n").await.is_ok() {}
    })
    .await;
    assert_eq!(
        get(&large).await.unwrap_err().kind(),
        TransportErrorKind::TooLarge
    );
    let garbage = tcp_server(|mut stream, _, _| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"<html>\r\n\r\n").await;
    })
    .await;
    let error = get(&garbage).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Protocol);
    assert!(!error.is_connection_lost());
    let closing = tcp_server(|mut stream, _, _| async move {
        read_request(&mut stream).await;
    })
    .await;
    let error = get(&closing).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Protocol);
    assert!(error.is_connection_lost());
    let half = tcp_server(|mut stream, _, _| async move {
        read_request(&mut stream).await;
        let half = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf";
        let _ = stream.write_all(half).await;
    })
    .await;
    assert!(get(&half).await.unwrap_err().is_connection_lost());
    let silent = tcp_server(|stream, _, _| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let mut request = request("GET", &uri(&silent), RequestBody::empty());
    let short = Duration::from_millis(200);
    let error = send_plain(&mut request, short).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Timeout);
    assert!(!error.is_connection_lost());
}

#[tokio::test]
async fn refused_connection_is_a_connect_error() {
    let mut request = request("GET", "http://127.0.0.1:1/", RequestBody::empty());
    let error = send_plain(&mut request, TEST_TIMEOUT).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Connect);
    assert!(error.is_connection_lost());
}
