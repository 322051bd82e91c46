//! Invariants of the design that are not elsewhere: `no_stale_pairing` is in `pool`, `bounded_input` in `hostile` and
//! `proxy`, `key_never_exported` with the bridge.
use crate::support::http::{receive, reply};
use crate::support::scene::{bare, scene};
use crate::support::server::{Asks, Tls, scripted};
use crate::support::{PATIENCE, get, request, words};
use http::{HeaderName, HeaderValue, Request, Uri};
use keybound_transport::{RequestBody, TransportErrorKind};
use openssl::ssl::SslVersion;
use tokio::io::AsyncWriteExt as _;

#[tokio::test]
async fn https_only_no_redirects() {
    let (context, client) = bare();
    let target = scripted(context.clone(), |mut stream: Tls, _, _| async move {
        receive(&mut stream).await;
    })
    .await;
    let elsewhere = target.uri("/stolen");
    let server = scripted(context, move |mut stream: Tls, _, _| {
        let elsewhere = elsewhere.clone();
        async move {
            while let Some(request) = receive(&mut stream).await {
                let status = request.path().trim_start_matches('/');
                let status = format!("{status} Moved\r\nLocation: {elsewhere}");
                reply(&mut stream, &status, "there").await;
            }
        }
    })
    .await;
    for status in [301, 302, 303, 307, 308] {
        let answer = get(&client, &server.uri(&format!("/{status}")))
            .await
            .unwrap();
        assert_eq!((answer.status, answer.text()), (status, "there"));
    }
    assert_eq!(target.connections(), 0);
    let plain = server.uri("/").replace("https", "http");
    for uri in [plain.as_str(), "http://localhost/", "ftp://localhost/", "/"] {
        let request = request("GET", uri, RequestBody::empty());
        let error = client.send(request, PATIENCE).await.unwrap_err();
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
    // What the types let through and a request line must not hold.
    let (context, client) = bare();
    let server = scripted(context, |mut stream: Tls, _, log| async move {
        while let Some(request) = receive(&mut stream).await {
            log.lock().unwrap().push(request);
            reply(&mut stream, "200 OK", "").await;
        }
    })
    .await;
    for byte in 0..=255u8 {
        let mut uri = server.uri("/a").into_bytes();
        uri.push(byte);
        let Ok(uri) = Uri::try_from(uri) else {
            continue;
        };
        let request = Request::builder()
            .uri(uri)
            .body(RequestBody::empty())
            .unwrap();
        match client.send(request, PATIENCE).await {
            Ok(answer) => drop(answer.into_body().collect(0).await.unwrap()),
            Err(error) => assert_eq!(error.kind(), TransportErrorKind::InvalidRequest),
        }
    }
    let received = server.requests.lock().unwrap();
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
    let (context, client) = bare();
    // A server that throws what it got back, in every place.
    let server = scripted(context, |mut stream: Tls, number, _| async move {
        let request = receive(&mut stream).await.unwrap();
        let secret = request.header("authorization").unwrap();
        let answer = match number {
            0 => format!("{secret}\r\n\r\n"),
            1 => format!("HTTP/1.1 {secret}\r\n\r\n"),
            2 => format!("HTTP/1.1 200 OK\r\n{secret}\r\n\r\n"),
            3 => format!("HTTP/1.1 200 OK\r\nContent-Length: {secret}\r\n\r\n"),
            4 => format!("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{secret}"),
            _ => format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{secret}\r\n"),
        };
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    })
    .await;
    for _ in 0..6 {
        let request = with_secret(&server.uri("/"));
        assert!(!format!("{:?}", request.body()).contains("swordfish"));
        let error = match client.send(request, PATIENCE).await {
            Err(error) => error,
            Ok(answer) => {
                assert!(!format!("{:?}", answer.body()).contains("swordfish"));
                answer.into_body().collect(1000).await.unwrap_err()
            }
        };
        let words = words(&error);
        assert!(!words.contains("swordfish"), "{words}");
    }
    for uri in [
        "https://u:swordfish@localhost/",
        "http://localhost/swordfish",
    ] {
        let error = client.send(with_secret(uri), PATIENCE).await.unwrap_err();
        assert!(!words(&error).contains("swordfish"));
    }
    let scene = scene(SslVersion::TLS1_3, Asks::Firmly).await;
    let shown = format!("{:?}", scene.client);
    assert!(
        shown.contains("Certificate") && !shown.contains("PRIVATE"),
        "{shown}"
    );
}
