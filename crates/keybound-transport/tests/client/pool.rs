//! The connection pool.
use crate::support::fixture::context_and_client;
use crate::support::keys::shared_key;
use crate::support::pki::{Authority, ClientIdentities as _};
use crate::support::server::{ClientAuth, ServerConfig, Tls, resource_server, tls_server};
use crate::support::{TEST_TIMEOUT, call, client_builder, get, post, request};
use bytes::Bytes;
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, StreamBody};
use keybound_testing::http1::{read_request, write_response};
use keybound_transport::{
    ConnectionReuse, HttpsClient, RequestBody, ResponseBody, TransportErrorKind,
};
use std::convert::Infallible;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

#[tokio::test]
async fn sequential_requests_share_a_connection() {
    let (context, client) = context_and_client();
    let server = resource_server(context).await;
    let uri = server.uri("/");
    for _ in 0..3 {
        get(&client.clone(), &uri).await.unwrap();
    }
    assert_eq!(server.connections(), 1);
    let (one, other) = tokio::join!(get(&client, &uri), get(&client, &uri));
    assert_ne!(one.unwrap().info().reused, other.unwrap().info().reused);
    assert_eq!(server.connections(), 2);
    let (one, other) = tokio::join!(get(&client, &uri), get(&client, &uri));
    assert!(one.unwrap().info().reused && other.unwrap().info().reused);
    assert_eq!(server.connections(), 2);
}

/// The server may request the certificate on a new connection.
#[tokio::test]
async fn closes_connections_that_missed_the_certificate() {
    let authority = Authority::new("test authority");
    for (status, client_auth, has_identity, connections) in [
        ("401 Unauthorized", ClientAuth::None, true, 2),
        ("403 Forbidden", ClientAuth::None, true, 2),
        ("413 Content Too Large", ClientAuth::None, true, 2),
        ("404 Not Found", ClientAuth::None, true, 1),
        ("200 OK", ClientAuth::None, true, 1),
        ("401 Unauthorized", ClientAuth::Optional, true, 1),
        ("401 Unauthorized", ClientAuth::None, false, 1),
    ] {
        let server_config = ServerConfig {
            leaf: authority.server("localhost"),
            version: None,
            client_auth,
            client_ca: authority.clone(),
        };
        let server = tls_server(
            server_config.context(),
            move |mut stream: Tls, _, _| async move {
                while read_request(&mut stream).await.is_some() {
                    write_response(&mut stream, status, "").await;
                }
            },
        )
        .await;
        let identity = has_identity.then(|| authority.client("client", shared_key()));
        let client = client_builder(&authority)
            .identity(identity)
            .build()
            .unwrap();
        for _ in 0..2 {
            get(&client, &server.uri("/")).await.unwrap();
        }
        assert_eq!(server.connections(), connections, "{status} {has_identity}");
    }
}

#[tokio::test]
async fn closes_connections_with_unread_responses() {
    let (context, client) = context_and_client();
    let (closed, mut was_closed) = mpsc::unbounded_channel();
    let server = tls_server(context, move |mut stream: Tls, _, _| {
        let closed = closed.clone();
        async move {
            read_request(&mut stream).await.unwrap();
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx";
            stream.write_all(head).await.unwrap();
            closed.send(stream.read_u8().await.is_err()).unwrap();
        }
    })
    .await;
    let uri = server.uri("/");
    let response = client
        .send(request("GET", &uri, RequestBody::empty()), TEST_TIMEOUT)
        .await
        .unwrap();
    drop(response);
    assert_eq!(was_closed.recv().await, Some(true));
    // A partly read response closes its connection too.
    {
        let sending = client.send(request("GET", &uri, RequestBody::empty()), TEST_TIMEOUT);
        let response = sending.await.unwrap();
        let mut body = response.into_body();
        assert!(body.frame().await.unwrap().is_ok());
    }
    assert_eq!(was_closed.recv().await, Some(true));
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn peeked_data_is_read_again_before_the_connection_is_reused() {
    let (context, client) = context_and_client();
    let server = resource_server(context).await;
    let uri = server.uri("/");
    let whole = get(&client, &uri).await.unwrap().body;
    for limit in [1, usize::MAX] {
        let body = peeked_body(&client, &uri, limit, &whole).await;
        assert_eq!(body.collect(whole.len()).await.unwrap(), whole);
        assert!(get(&client, &uri).await.unwrap().info().reused, "{limit}");
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn closes_connections_whose_response_was_only_peeked_at() {
    let (context, client) = context_and_client();
    let server = resource_server(context).await;
    let uri = server.uri("/");
    let whole = get(&client, &uri).await.unwrap().body;
    drop(peeked_body(&client, &uri, usize::MAX, &whole).await);
    assert!(!get(&client, &uri).await.unwrap().info().reused);
    assert_eq!(server.connections(), 2);
}

/// Sends a request and peeks at the response, which remains unread.
async fn peeked_body(client: &HttpsClient, uri: &str, limit: usize, whole: &[u8]) -> ResponseBody {
    let request = request("GET", uri, RequestBody::empty());
    let response = client.send(request, TEST_TIMEOUT).await.unwrap();
    let mut body = response.into_body();
    let peeked = body.peek(limit).await;
    assert!(!peeked.is_empty() && whole.starts_with(&peeked));
    assert_eq!(body.peek(0).await, peeked);
    assert_eq!(body.size_hint().exact(), Some(whole.len() as u64));
    assert!(!body.is_end_stream());
    body
}

#[tokio::test]
async fn opens_a_new_connection_on_request() {
    let (context, client) = context_and_client();
    let server = resource_server(context).await;
    let uri = server.uri("/");
    for connections in 1..=3 {
        let mut request = request("GET", &uri, RequestBody::empty());
        let response = client
            .send_with(&mut request, TEST_TIMEOUT, ConnectionReuse::Never)
            .await
            .unwrap();
        response.into_body().collect(1000).await.unwrap();
        assert_eq!(server.connections(), connections);
    }
    assert!(get(&client, &uri).await.unwrap().info().reused);
}

#[tokio::test]
async fn dropping_a_request_closes_its_connection() {
    let (context, client) = context_and_client();
    let (event, mut events) = mpsc::unbounded_channel();
    let server = tls_server(context, move |mut stream: Tls, _, _| {
        let event = event.clone();
        async move {
            read_request(&mut stream).await.unwrap();
            event.send("received").unwrap();
            assert!(stream.read_u8().await.is_err());
            event.send("closed").unwrap();
        }
    })
    .await;
    let uri = server.uri("/");
    tokio::select! {
        _ = get(&client, &uri) => panic!("the server sends no response"),
        received = events.recv() => assert_eq!(received, Some("received")),
    }
    assert_eq!(events.recv().await, Some("closed"));
}

#[tokio::test]
async fn reuses_connections_after_responses_without_a_body() {
    let (context, client) = context_and_client();
    let server = tls_server(context, |mut stream: Tls, _, _| async move {
        while let Some(request) = read_request(&mut stream).await {
            let head = match request.method() {
                "HEAD" => "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
                "DELETE" => "HTTP/1.1 204 No Content\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            };
            stream.write_all(head.as_bytes()).await.unwrap();
        }
    })
    .await;
    for method in ["HEAD", "DELETE", "GET", "POST", "HEAD"] {
        let request = request(method, &server.uri("/"), RequestBody::empty());
        client.send(request, TEST_TIMEOUT).await.unwrap();
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn does_not_reuse_connections_that_the_server_closes() {
    let (context, client) = context_and_client();
    let server = tls_server(context, |mut stream: Tls, _, _| async move {
        read_request(&mut stream).await.unwrap();
        let response = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx";
        stream.write_all(response).await.unwrap();
        // The connection remains open without being read.
        std::future::pending::<()>().await;
    })
    .await;
    for connections in 1..=3 {
        assert_eq!(get(&client, &server.uri("/")).await.unwrap().text(), "x");
        assert_eq!(server.connections(), connections);
    }
}

#[tokio::test]
async fn closes_idle_connections_after_their_timeout() {
    let authority = Authority::new("test authority");
    let server_config = ServerConfig {
        leaf: authority.server("localhost"),
        version: None,
        client_auth: ClientAuth::None,
        client_ca: authority.clone(),
    };
    let (ended, mut connection_ended) = mpsc::unbounded_channel();
    let server = tls_server(server_config.context(), move |mut stream: Tls, _, _| {
        let ended = ended.clone();
        async move {
            read_request(&mut stream).await.unwrap();
            write_response(&mut stream, "200 OK", "x").await;
            // Expects close_notify.
            let read = stream.read(&mut [0]).await;
            ended.send(read.is_ok_and(|read| read == 0)).unwrap();
        }
    })
    .await;
    for timeout in [Duration::ZERO, Duration::from_millis(5)] {
        let client = client_builder(&authority)
            .idle_timeout(timeout)
            .build()
            .unwrap();
        get(&client, &server.uri("/")).await.unwrap();
        assert_eq!(connection_ended.recv().await, Some(true));
    }
    let client = client_builder(&authority).build().unwrap();
    get(&client, &server.uri("/")).await.unwrap();
    drop(client);
    assert_eq!(connection_ended.recv().await, Some(true));
}

#[tokio::test]
async fn large_bodies_prefer_authenticated_connections() {
    let authority = Authority::new("test authority");
    let server_config = ServerConfig {
        leaf: authority.server("localhost"),
        version: None,
        client_auth: ClientAuth::None,
        client_ca: authority.clone(),
    };
    let server = resource_server(server_config.context()).await;
    let client = client_builder(&authority)
        .identity(authority.client("client", shared_key()))
        .build()
        .unwrap();
    let (open, secure) = (server.uri("/open"), server.uri("/secure"));
    // Two idle connections: the authenticated one was used before the other.
    let held = client
        .send(request("GET", &secure, RequestBody::empty()), TEST_TIMEOUT)
        .await
        .unwrap();
    let other = client
        .send(request("GET", &open, RequestBody::empty()), TEST_TIMEOUT)
        .await
        .unwrap();
    held.into_body().collect(1000).await.unwrap();
    other.into_body().collect(1000).await.unwrap();
    assert_eq!(server.connections(), 2);
    for (length, authenticated) in [(16 * 1024, false), (16 * 1024 + 1, true), (1 << 20, true)] {
        let response = post(&client, &open, length).await.unwrap();
        assert_eq!(
            response.info().certificate_requested,
            authenticated,
            "{length}"
        );
        // Makes the other connection the last used.
        if authenticated {
            post(&client, &open, 0).await.unwrap();
        }
    }
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn streams_bodies() {
    let (context, client) = context_and_client();
    let server = resource_server(context).await;
    let stream = |length: Option<u64>| {
        let frames =
            (0..100).map(|_| Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'x'; 1000]))));
        let body = StreamBody::new(futures_util::stream::iter(frames));
        match length {
            None => RequestBody::stream(body),
            Some(length) => RequestBody::stream(Sized { body, length }),
        }
    };
    for (body, header, value) in [
        (stream(None), "transfer-encoding", "chunked"),
        (stream(Some(100_000)), "content-length", "100000"),
        (RequestBody::empty(), "content-length", "0"),
    ] {
        let response = call(&client, "POST", &server.uri("/"), body).await.unwrap();
        let received = server.requests.lock().unwrap().pop().unwrap();
        assert_eq!(received.header(header), Some(value));
        assert_eq!(response.text(), format!("{} none", received.body));
    }
    assert_eq!(server.connections(), 1);
    // A length that differs from the announced one fails the request and its connection.
    for (failures, length) in [(1, 100_001), (2, 99_999)] {
        let error = call(&client, "POST", &server.uri("/"), stream(Some(length)))
            .await
            .unwrap_err();
        assert_eq!(
            error.kind(),
            TransportErrorKind::InvalidRequest,
            "{error:?}"
        );
        get(&client, &server.uri("/")).await.unwrap();
        assert_eq!(server.connections(), 1 + failures);
    }
}

#[test]
fn does_not_reuse_connections_of_another_runtime() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let (servers, one, other) = (runtime(), runtime(), runtime());
    let (context, client) = context_and_client();
    let server = servers.block_on(resource_server(context));
    let uri = server.uri("/");
    std::thread::scope(|scope| {
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        scope.spawn(|| servers.block_on(ended));
        // The first runtime is idle while the second runs.
        for (runtime, reused) in [(&one, false), (&other, false), (&one, true), (&other, true)] {
            let response = runtime.block_on(get(&client, &uri)).unwrap();
            assert_eq!(response.info().reused, reused);
        }
        drop(end);
    });
}

#[tokio::test]
async fn no_stale_pairing() {
    let authority = Authority::new("test authority");
    let mut server_config = ServerConfig {
        leaf: authority.server("localhost"),
        version: None,
        client_auth: ClientAuth::Optional,
        client_ca: authority.clone(),
    };
    for (version, client_auth, path) in [
        (openssl::ssl::SslVersion::TLS1_2, ClientAuth::Optional, "/"),
        (openssl::ssl::SslVersion::TLS1_3, ClientAuth::Optional, "/"),
        (
            openssl::ssl::SslVersion::TLS1_2,
            ClientAuth::None,
            "/secure",
        ),
        (
            openssl::ssl::SslVersion::TLS1_3,
            ClientAuth::None,
            "/secure",
        ),
    ] {
        server_config.version = Some(version);
        server_config.client_auth = client_auth;
        let server = resource_server(server_config.context()).await;
        // Two certificates with the same key: only the connection distinguishes them.
        let clients: Vec<(HttpsClient, String)> = ["first", "second"]
            .iter()
            .map(|name| {
                let identity = authority.client(name, shared_key());
                let thumbprint = identity.certificate().thumbprints().sha256.to_string();
                let client = client_builder(&authority).identity(identity).build();
                (client.unwrap(), thumbprint.to_ascii_lowercase())
            })
            .collect();
        for _ in 0..3 {
            for (client, thumbprint) in &clients {
                let response = get(client, &server.uri(path)).await.unwrap();
                assert_eq!(response.text(), format!("0 {thumbprint}"));
            }
        }
        assert_eq!(server.connections(), 2);
    }
}

#[tokio::test]
async fn no_session_is_resumed() {
    use openssl::ssl::{SslOptions, SslSessionCacheMode, SslVersion};
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let authority = Authority::new("test authority");
        let leaf = authority.server("localhost");
        let mut builder =
            openssl::ssl::SslContext::builder(openssl::ssl::SslMethod::tls_server()).unwrap();
        builder.set_certificate(&leaf.certificate).unwrap();
        builder.set_private_key(&leaf.key).unwrap();
        builder.set_max_proto_version(Some(version)).unwrap();
        builder.set_session_id_context(b"test").unwrap();
        builder.set_session_cache_mode(SslSessionCacheMode::SERVER);
        builder.clear_options(SslOptions::NO_TICKET);
        let server = tls_server(builder.build(), |mut stream: Tls, _, _| async move {
            read_request(&mut stream).await;
            let resumed = stream.ssl().session_reused().to_string();
            write_response(&mut stream, "200 OK", &resumed).await;
        })
        .await;
        let client = client_builder(&authority)
            .idle_timeout(Duration::ZERO)
            .build()
            .unwrap();
        for _ in 0..3 {
            assert_eq!(
                get(&client, &server.uri("/")).await.unwrap().text(),
                "false"
            );
        }
        assert_eq!(server.connections(), 3);
    }
}

#[tokio::test]
async fn no_session_is_resumed_in_a_renegotiation() {
    use openssl::ssl::{SslContext, SslMethod, SslOptions, SslSessionCacheMode, SslVersion};
    let authority = Authority::new("test authority");
    let leaf = authority.server("localhost");
    let mut builder = SslContext::builder(SslMethod::tls_server()).unwrap();
    builder.set_certificate(&leaf.certificate).unwrap();
    builder.set_private_key(&leaf.key).unwrap();
    builder
        .set_max_proto_version(Some(SslVersion::TLS1_2))
        .unwrap();
    builder
        .cert_store_mut()
        .add_cert(authority.certificate().clone())
        .unwrap();
    builder.set_session_id_context(b"test").unwrap();
    // A server that would resume its client's session, and then not request the certificate.
    builder.set_session_cache_mode(SslSessionCacheMode::SERVER);
    builder.clear_options(SslOptions::NO_RENEGOTIATION);
    let server = resource_server(builder.build()).await;
    let client = client_builder(&authority)
        .identity(authority.client("client", shared_key()))
        .build()
        .unwrap();
    let response = get(&client, &server.uri("/secure")).await.unwrap();
    assert_eq!(response.status, 200, "{}", response.text());
    assert!(response.info().certificate_requested);
}

/// A body with an announced length.
struct Sized<B> {
    body: B,
    length: u64,
}

impl<B: http_body::Body + Unpin> http_body::Body for Sized<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        std::pin::Pin::new(&mut self.body).poll_frame(cx)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.length)
    }
}
