//! Malformed, oversized, slow and missing responses.
use crate::support::fixture::context_and_client;
use crate::support::server::{Tls, tcp_server, tls_server};
use crate::support::{call, error_chain, get, post, request};
use keybound_testing::http1::{read_head, read_request, write_response};
use keybound_transport::{HttpsClient, RequestBody, ResponseBody, TransportErrorKind};
use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

/// Long enough to reach the state in which the peer is silent; the test waits this long.
const SHORT: Duration = Duration::from_millis(300);
/// More than any machine needs for that.
const LONG: Duration = Duration::from_secs(10);

async fn error_after_response(bytes: &'static [u8]) -> TransportErrorKind {
    let (context, client) = context_and_client();
    let server = tls_server(context, move |mut stream: Tls, _, _| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
    })
    .await;
    let error = get(&client, &server.uri("/")).await.unwrap_err();
    assert_eq!(server.connections(), 1, "no request is sent twice");
    error.kind()
}

#[tokio::test]
async fn rejects_malformed_responses() {
    for bytes in [
        &b""[..],
        b"HTTP/1.1 20",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nA\0: b\r\n\r\n",
        b"\x00\x01\x02\x03 garbage \xff\xfe\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    ] {
        let kind = error_after_response(bytes).await;
        let text = String::from_utf8_lossy(bytes);
        assert_eq!(kind, TransportErrorKind::Protocol, "{text}");
    }
}

#[tokio::test]
async fn response_without_length_requires_close_notify() {
    for closes_notify in [true, false] {
        let (context, client) = context_and_client();
        let server = tls_server(context, move |mut stream: Tls, _, _| async move {
            read_request(&mut stream).await;
            let response = b"HTTP/1.1 200 OK\r\n\r\nuntil the end";
            stream.write_all(response).await.unwrap();
            if closes_notify {
                let _ = stream.shutdown().await;
            } else {
                stream.get_mut().shutdown().await.unwrap();
            }
            // Waits, so that a reset does not discard data in transit.
            let _ = stream.get_mut().read(&mut [0]).await;
        })
        .await;
        match get(&client, &server.uri("/")).await {
            Ok(response) => assert!(closes_notify && response.body == "until the end"),
            Err(error) => {
                assert!(!closes_notify, "{}", error_chain(&error));
                assert_eq!(error.kind(), TransportErrorKind::Protocol);
            }
        }
    }
}

#[tokio::test]
async fn reports_the_protocol_of_peers_without_tls() {
    let (_, client) = context_and_client();
    for (response, message) in [
        (
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            "responds with plain http, not tls",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "responds with plain http, not tls",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not respond with tls"),
        (b"220 mail.example ESMTP\r\n", "does not respond with tls"),
        (b"<html></html>", "does not respond with tls"),
        (&[0; 64], "does not respond with tls"),
    ] {
        let server = tcp_server(move |mut stream, _, _| async move {
            let _ = stream.write_all(response).await;
            // Waits for the client to close, so that the connection is not reset.
            let _ = stream.read_to_end(&mut vec![]).await;
        })
        .await;
        let error = get(&client, &server.uri("/")).await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::Tls);
        assert!(error.to_string().ends_with(message), "{error}");
    }
    let error = get(&client, "https://localhost:1/").await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Connect);
}

#[tokio::test]
async fn does_not_retry_after_a_reset_of_a_new_connection() {
    let (context, client) = context_and_client();
    let server = tls_server(context, |mut stream: Tls, _, log| async move {
        let request = read_request(&mut stream).await.unwrap();
        log.lock().unwrap().push(request);
        stream.get_ref().set_zero_linger().unwrap();
    })
    .await;
    for method in ["GET", "POST"] {
        let error = call(&client, method, &server.uri("/"), RequestBody::full("x"))
            .await
            .unwrap_err();
        assert_eq!(
            error.kind(),
            TransportErrorKind::Protocol,
            "{}",
            error_chain(&error)
        );
    }
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn silent_servers_fail_at_the_deadline() {
    let (context, client) = context_and_client();
    let before_tls = tcp_server(|stream, _, _| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let before_head = tls_server(context.clone(), |mut stream: Tls, _, _| async move {
        read_request(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    for server in [&before_tls, &before_head] {
        let error = client
            .send(
                request("GET", &server.uri("/"), RequestBody::empty()),
                SHORT,
            )
            .await
            .unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::Timeout);
    }
    let in_body = tls_server(context, |mut stream: Tls, _, _| async move {
        read_request(&mut stream).await;
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx";
        let _ = stream.write_all(head).await;
        std::future::pending::<()>().await;
    })
    .await;
    let response = head_of(&client, &in_body.uri("/")).await;
    let error = response.into_body().collect(100).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Timeout);
}

/// A response whose body has little time left; more, where a busy machine did not receive the head in time.
async fn head_of(client: &HttpsClient, uri: &str) -> http::Response<ResponseBody> {
    let mut timeout = SHORT;
    loop {
        let request = request("GET", uri, RequestBody::empty());
        match client.send(request, timeout).await {
            Err(error) if error.kind() == TransportErrorKind::Timeout && timeout < LONG => {
                timeout *= 4;
            }
            response => return response.unwrap(),
        }
    }
}

#[tokio::test]
async fn slow_bodies_fail_at_the_deadline() {
    let (context, client) = context_and_client();
    let server = tls_server(context, |mut stream: Tls, _, _| async move {
        read_request(&mut stream).await;
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let _ = stream.write_all(head).await;
        while stream.write_all(b"1\r\nx\r\n").await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let response = head_of(&client, &server.uri("/")).await;
    let error = response.into_body().collect(usize::MAX).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Timeout);
}

#[tokio::test]
async fn bounded_input() {
    let (context, client) = context_and_client();
    let (closed, mut was_closed) = mpsc::unbounded_channel();
    let server = tls_server(context, move |mut stream: Tls, _, _| {
        let closed = closed.clone();
        async move {
            let request = read_request(&mut stream).await.unwrap();
            let head = match request.path() {
                "/announced" => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 64 << 20),
                "/endless" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
                "/until-close" => "HTTP/1.1 200 OK\r\n\r\n".to_owned(),
                "/head" => format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(1 << 20)),
                "/headers" => format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(5000)),
                _ => {
                    "HTTP/1.1 100 Continue\r\n\r\n".repeat(3)
                        + "HTTP/1.1 200 OK\r\nx: "
                        + &"y".repeat(200_000)
                }
            };
            let _ = stream.write_all(head.as_bytes()).await;
            let chunk = format!("10000\r\n{}\r\n", "z".repeat(0x10000));
            for _ in 0..1024 {
                if stream.write_all(chunk.as_bytes()).await.is_err() {
                    break;
                }
            }
            // A client that reads the whole body would not have closed the connection.
            let ended = stream.read_u8().await.is_err();
            closed.send(ended).unwrap();
        }
    })
    .await;
    for path in ["/announced", "/endless", "/until-close"] {
        let uri = server.uri(path);
        let response = client
            .send(
                request("GET", &uri, RequestBody::empty()),
                crate::support::TEST_TIMEOUT,
            )
            .await
            .unwrap();
        let error = response.into_body().collect(1 << 20).await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::TooLarge, "{path}");
        assert_eq!(was_closed.recv().await, Some(true));
    }
    for path in ["/head", "/headers", "/informational"] {
        let error = get(&client, &server.uri(path)).await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::TooLarge, "{path}");
    }
    assert_eq!(server.connections(), 6, "nothing is reused after an error");
}

#[tokio::test]
async fn accepts_bodies_up_to_the_limit() {
    let (context, client) = context_and_client();
    let server = tls_server(context, |mut stream: Tls, _, _| async move {
        while read_request(&mut stream).await.is_some() {
            let body = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n";
            stream.write_all(body.as_bytes()).await.unwrap();
        }
    })
    .await;
    for (limit, fits) in [(6, true), (5, false), (3, false), (0, false)] {
        let response = client
            .send(
                request("GET", &server.uri("/"), RequestBody::empty()),
                crate::support::TEST_TIMEOUT,
            )
            .await
            .unwrap();
        let body = response.into_body().collect(limit).await;
        assert_eq!(
            body.is_ok_and(|body| &body[..] == b"abcdef"),
            fits,
            "{limit}"
        );
    }
}

#[tokio::test]
async fn replaces_idle_connections_that_the_server_closed() {
    let (context, client) = context_and_client();
    let (closed, mut was_closed) = mpsc::unbounded_channel();
    let server = tls_server(context, move |mut stream: Tls, _, log| {
        let closed = closed.clone();
        async move {
            let request = read_request(&mut stream).await.unwrap();
            log.lock().unwrap().push(request);
            write_response(&mut stream, "200 OK", "x").await;
            let _ = stream.shutdown().await;
            drop(stream);
            closed.send(()).unwrap();
        }
    })
    .await;
    for count in 1..=4 {
        let method = if count % 2 == 0 { "POST" } else { "GET" };
        let response = call(&client, method, &server.uri("/"), RequestBody::full("x")).await;
        assert_eq!(response.unwrap().status, 200);
        was_closed.recv().await.unwrap();
        assert_eq!((server.connections(), server.requests()), (count, count));
    }
}

#[tokio::test]
async fn returns_early_responses_and_closes_their_connection() {
    const LENGTH: usize = 32 << 20;
    let (context, client) = context_and_client();
    let (answered, has_answered) = tokio::sync::oneshot::channel::<()>();
    let (counted, mut count) = mpsc::unbounded_channel();
    let has_answered = Arc::new(Mutex::new(Some(has_answered)));
    let server = tls_server(context, move |mut stream: Tls, number, _| {
        let counted = counted.clone();
        let has_answered = has_answered.lock().unwrap().take();
        async move {
            if number > 0 {
                read_request(&mut stream).await;
                write_response(&mut stream, "200 OK", "x").await;
                return;
            }
            read_head(&mut stream).await.unwrap();
            write_response(&mut stream, "413 Content Too Large", "no").await;
            has_answered.unwrap().await.unwrap();
            // The client sends no more than it has sent so far.
            let (mut received, mut buffer) = (0, vec![0; 1 << 16]);
            while let Ok(read @ 1..) = stream.get_mut().read(&mut buffer).await {
                received += read;
            }
            counted.send(received).unwrap();
        }
    })
    .await;
    let response = post(&client, &server.uri("/"), LENGTH).await.unwrap();
    assert_eq!((response.status, response.text()), (413, "no"));
    answered.send(()).unwrap();
    assert!(count.recv().await.unwrap() < LENGTH);
    let response = get(&client, &server.uri("/")).await.unwrap();
    assert_eq!((response.status, response.info().reused), (200, false));
}

#[tokio::test(flavor = "current_thread")]
async fn detects_closed_connections_before_a_request() {
    let (context, client) = context_and_client();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!(
        "https://localhost:{}/",
        listener.local_addr().unwrap().port()
    );
    let (answered, was_answered) = std::sync::mpsc::channel::<()>();
    let (closed, was_closed) = std::sync::mpsc::channel();
    // On a thread: nothing else may run on the runtime between the end and the next request.
    let server = std::thread::spawn(move || {
        for _ in 0..2 {
            let (stream, _) = listener.accept().unwrap();
            let ssl = openssl::ssl::Ssl::new(&context).unwrap();
            let mut stream = ssl.accept(stream).unwrap();
            let mut head = vec![];
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            let response = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(response).unwrap();
            was_answered.recv().unwrap();
            stream.shutdown().unwrap();
            drop(stream);
            closed.send(()).unwrap();
        }
    });
    for _ in 0..2 {
        // A request that is not retried.
        assert!(!post(&client, &uri, 0).await.unwrap().info().reused);
        answered.send(()).unwrap();
        was_closed.recv().unwrap();
    }
    server.join().unwrap();
}
