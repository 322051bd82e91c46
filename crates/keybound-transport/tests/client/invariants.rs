//! Invariants of the design. Others are tested elsewhere: `no_stale_pairing` in `pool`, `bounded_input` in `malformed_responses` and
//! `proxy`, `key_never_exported` with the OpenSSL provider.
use crate::support::fixture::{context_and_client, fixture};
use crate::support::server::{ClientAuth, Tls, tls_server};
use crate::support::{TEST_TIMEOUT, error_chain, get, request};
use http::{HeaderName, HeaderValue, Request, Uri};
use keybound_testing::http1::{read_request, write_response};
use keybound_transport::{RequestBody, TransportErrorKind};
use openssl::ssl::SslVersion;
use tokio::io::AsyncWriteExt as _;

#[tokio::test]
async fn https_only_no_redirects() {
    let (context, client) = context_and_client();
    let target = tls_server(context.clone(), |mut stream: Tls, _, _| async move {
        read_request(&mut stream).await;
    })
    .await;
    let elsewhere = target.uri("/stolen");
    let server = tls_server(context, move |mut stream: Tls, _, _| {
        let elsewhere = elsewhere.clone();
        async move {
            while let Some(request) = read_request(&mut stream).await {
                let status = request.path().trim_start_matches('/');
                let status = format!("{status} Moved\r\nLocation: {elsewhere}");
                write_response(&mut stream, &status, "there").await;
            }
        }
    })
    .await;
    for status in [301, 302, 303, 307, 308] {
        let response = get(&client, &server.uri(&format!("/{status}")))
            .await
            .unwrap();
        assert_eq!((response.status, response.text()), (status, "there"));
    }
    assert_eq!(target.connections(), 0);
    let plain = server.uri("/").replace("https", "http");
    for uri in [plain.as_str(), "http://localhost/", "ftp://localhost/", "/"] {
        let request = request("GET", uri, RequestBody::empty());
        let error = client.send(request, TEST_TIMEOUT).await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::InvalidRequest, "{uri}");
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn no_header_injection() {
    for text in ["a\r\nb: c", "a\nb", "a\rb", "a\0b"] {
        assert!(HeaderValue::from_str(text).is_err());
        assert!(HeaderValue::from_bytes(text.as_bytes()).is_err());
        assert!(HeaderName::from_bytes(text.as_bytes()).is_err());
        assert!(format!("https://localhost/{text}").parse::<Uri>().is_err());
        assert!(http::Method::from_bytes(text.as_bytes()).is_err());
    }
    assert!(HeaderName::from_bytes(b"a:b").is_err());
    // Bytes that the types allow and a request line must not contain.
    let (context, client) = context_and_client();
    let server = tls_server(context, |mut stream: Tls, _, log| async move {
        while let Some(request) = read_request(&mut stream).await {
            log.lock().unwrap().push(request);
            write_response(&mut stream, "200 OK", "").await;
        }
    })
    .await;
    let mut answered = 0;
    for byte in 0..=255u8 {
        let mut uri = server.uri("/a").into_bytes();
        uri.push(byte);
        // Not a URI for the type either.
        let Ok(uri) = Uri::try_from(uri) else {
            continue;
        };
        let request = Request::builder()
            .uri(uri)
            .body(RequestBody::empty())
            .unwrap();
        match client.send(request, TEST_TIMEOUT).await {
            Ok(response) => {
                response.into_body().collect(0).await.unwrap();
                answered += 1;
            }
            Err(error) => assert_eq!(error.kind(), TransportErrorKind::InvalidRequest),
        }
    }
    let received = server.requests.lock().unwrap();
    assert_eq!(received.len(), answered);
    assert!(answered > 64, "at least letters and digits: {answered}");
    for request in received.iter() {
        assert!(request.path().starts_with("/a"));
        assert!(
            request
                .head
                .bytes()
                .all(|byte| byte.is_ascii_graphic() || b" \r\n".contains(&byte))
        );
        assert_eq!(request.head.matches("\r\n").count(), 3, "{}", request.head);
    }
}

#[tokio::test]
async fn secrets_stay_secret() {
    const SECRET: &str = "mtls_pop swordfish.swordfish.swordfish";
    let with_secret = |uri: &str| {
        Request::builder()
            .method("POST")
            .uri(uri)
            .header("authorization", SECRET)
            .body(RequestBody::full("body: swordfish"))
            .unwrap()
    };
    let (context, client) = context_and_client();
    // A server that returns the secret at each place of a response.
    let server = tls_server(context, |mut stream: Tls, number, _| async move {
        let request = read_request(&mut stream).await.unwrap();
        let secret = request.header("authorization").unwrap();
        let response = match number {
            0 => format!("{secret}\r\n\r\n"),
            1 => format!("HTTP/1.1 {secret}\r\n\r\n"),
            2 => format!("HTTP/1.1 200 OK\r\n{secret}\r\n\r\n"),
            3 => format!("HTTP/1.1 200 OK\r\nContent-Length: {secret}\r\n\r\n"),
            4 => format!("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{secret}"),
            _ => format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{secret}\r\n"),
        };
        let _ = stream.write_all(response.as_bytes()).await;
        let _ = stream.shutdown().await;
    })
    .await;
    for _ in 0..6 {
        let request = with_secret(&server.uri("/"));
        assert!(!format!("{:?}", request.body()).contains("swordfish"));
        let error = match client.send(request, TEST_TIMEOUT).await {
            Err(error) => error,
            Ok(response) => {
                assert!(!format!("{:?}", response.body()).contains("swordfish"));
                response.into_body().collect(1000).await.unwrap_err()
            }
        };
        let message = error_chain(&error);
        assert!(!message.contains("swordfish"), "{message}");
    }
    for uri in [
        "https://u:swordfish@localhost/",
        "http://localhost/swordfish",
    ] {
        let error = client
            .send(with_secret(uri), TEST_TIMEOUT)
            .await
            .unwrap_err();
        assert!(!error_chain(&error).contains("swordfish"));
    }
    let fixture = fixture(SslVersion::TLS1_3, ClientAuth::Required).await;
    let shown = format!("{:?}", fixture.client);
    assert!(
        shown.contains("Certificate") && !shown.contains("PRIVATE"),
        "{shown}"
    );
}
