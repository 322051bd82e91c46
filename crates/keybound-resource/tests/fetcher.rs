//! The fetcher of issuers' keys, against servers on loopback.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use keybound_resource::KeyFetcher as _;
use keybound_resource::fetch::{HttpsKeyFetcher, HttpsSettings, TlsEngine, TrustAnchors};
use keybound_testing::http1::read_request;
use keybound_testing::server::{Server, tls_server};
use keybound_testing::{Authority, Leaf};
use tokio::io::AsyncWriteExt as _;

#[tokio::test]
async fn fetches_a_document() {
    let authority = Authority::new("keys");
    let server = server(
        &authority.server("localhost"),
        "200 OK",
        "",
        "{\"keys\":[]}",
    )
    .await;
    let fetched = fetcher(&authority).fetch(&server.uri("/keys")).await;
    assert_eq!(fetched.unwrap(), b"{\"keys\":[]}");
    let request = server.requests.lock().unwrap()[0].clone();
    assert_eq!((request.method(), request.path()), ("GET", "/keys"));
    assert_eq!(request.header("authorization"), None);
}

#[tokio::test]
async fn redirects_and_other_statuses_are_errors() {
    let authority = Authority::new("keys");
    let leaf = authority.server("localhost");
    for (status, header) in [
        ("302 Found", "Location: https://localhost/keys\r\n"),
        ("404 Not Found", ""),
        ("503 Service Unavailable", ""),
        ("204 No Content", ""),
    ] {
        let server = server(&leaf, status, header, "{}").await;
        let fetched = fetcher(&authority).fetch(&server.uri("/keys")).await;
        let error = fetched.unwrap_err().to_string();
        assert!(error.contains(&status[..3]), "{error}");
        assert_eq!(server.requests(), 1, "{status}");
    }
}

#[tokio::test]
async fn document_has_one_mebibyte_at_most() {
    let authority = Authority::new("keys");
    let leaf = authority.server("localhost");
    for (length, is_accepted) in [(1 << 20, true), ((1 << 20) + 1, false)] {
        let server = server(&leaf, "200 OK", "", &" ".repeat(length)).await;
        let fetched = fetcher(&authority).fetch(&server.uri("/keys")).await;
        assert_eq!(fetched.is_ok(), is_accepted, "{length}");
    }
}

#[tokio::test]
async fn server_is_verified() {
    let authority = Authority::new("keys");
    for leaf in [
        Authority::new("other").server("localhost"),
        authority.server("other.example"),
        authority.server_between("localhost", -3..-1),
        Leaf::self_signed("localhost"),
    ] {
        let server = server(&leaf, "200 OK", "", "{}").await;
        let fetched = fetcher(&authority).fetch(&server.uri("/keys")).await;
        assert!(fetched.is_err());
        assert_eq!(server.requests(), 0);
    }
}

#[tokio::test]
async fn only_https_is_fetched() {
    let authority = Authority::new("keys");
    for url in ["http://localhost/keys", "file:///etc/passwd", "/keys", ""] {
        assert!(fetcher(&authority).fetch(url).await.is_err(), "{url}");
    }
}

fn fetcher(authority: &Authority) -> HttpsKeyFetcher {
    let trust = TrustAnchors::system().with_pem(&authority.pem()).unwrap();
    let settings = HttpsSettings {
        trust,
        // SChannel trusts the CA certificates of Windows only.
        engine: TlsEngine::OpenSsl,
        ..HttpsSettings::default()
    };
    HttpsKeyFetcher::new(settings).unwrap()
}

/// Responds to each request alike.
async fn server(leaf: &Leaf, status: &str, header: &str, body: &str) -> Server {
    let response = format!(
        "HTTP/1.1 {status}\r\n{header}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let context = leaf.acceptor().build().into_context();
    tls_server(context, move |mut stream, _, log| {
        let response = response.clone();
        async move {
            if let Some(request) = read_request(&mut stream).await {
                log.lock().unwrap().push(request);
                // The client may close the connection before the end of the body.
                let _ = stream.write_all(response.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        }
    })
    .await
}
