//! Requests whose connection ends before their response: which are retried, and which are not.
use crate::support::fixture::context_and_client;
use crate::support::server::{Server, Tls, tcp_server, tls_server};
use crate::support::{Response, TEST_TIMEOUT, call, request};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::StreamBody;
use keybound_testing::http1::{read_head, read_request, write_response};
use keybound_transport::{
    HttpsClient, Idempotent, RequestBody, TransportError, TransportErrorKind,
};
use std::convert::Infallible;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;

const SAFE: [&str; 3] = ["GET", "HEAD", "OPTIONS"];
/// PUT and DELETE too: HTTP defines them as idempotent, but not every service implements them so.
const UNSAFE: [&str; 4] = ["POST", "PUT", "PATCH", "DELETE"];

/// How a connection ends after a request.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// close_notify, then the end of TCP.
    CloseNotify,
    /// The end of TCP without close_notify.
    TcpClose,
    Reset,
    /// close_notify, after the head of the request was read and before its body.
    DuringRequest,
    /// The end after a part of a response.
    PartialResponse(&'static str),
}

const WITHOUT_RESPONSE: [Ending; 4] = [
    Ending::CloseNotify,
    Ending::TcpClose,
    Ending::Reset,
    Ending::DuringRequest,
];

const PARTIAL_RESPONSES: [Ending; 5] = [
    Ending::PartialResponse("H"),
    Ending::PartialResponse("HTTP/1.1 20"),
    Ending::PartialResponse("HTTP/1.1 100 Continue\r\n\r\n"),
    Ending::PartialResponse("HTTP/1.1 200 OK\r\nContent-Le"),
    Ending::PartialResponse("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhal"),
];

/// A server whose first connection ends at request number `at_request`, from 0. It responds to all others.
async fn server(ending: Ending, at_request: usize) -> (Server, HttpsClient) {
    let (context, client) = context_and_client();
    let server = tls_server(context, move |mut stream: Tls, number, log| async move {
        for count in 0.. {
            let last = number == 0 && count == at_request;
            if last && matches!(ending, Ending::DuringRequest) {
                if read_head(&mut stream).await.is_some() {
                    let _ = stream.shutdown().await;
                }
                return;
            }
            let Some(request) = read_request(&mut stream).await else {
                return;
            };
            let head = request.method() == "HEAD";
            log.lock().unwrap().push(request);
            if last {
                end(stream, ending).await;
                return;
            }
            write_response(&mut stream, "200 OK", if head { "" } else { "x" }).await;
        }
    })
    .await;
    (server, client)
}

async fn end(mut stream: Tls, ending: Ending) {
    match ending {
        Ending::TcpClose => drop(stream),
        Ending::Reset => stream.get_ref().set_zero_linger().unwrap(),
        Ending::PartialResponse(message) => {
            stream.write_all(message.as_bytes()).await.unwrap();
            let _ = stream.shutdown().await;
        }
        Ending::CloseNotify | Ending::DuringRequest => {
            let _ = stream.shutdown().await;
        }
    }
}

async fn send(
    client: &HttpsClient,
    server: &Server,
    method: &str,
) -> Result<Response, TransportError> {
    let body = match method {
        "GET" | "HEAD" | "OPTIONS" | "DELETE" => RequestBody::empty(),
        _ => RequestBody::full("x"),
    };
    call(client, method, &server.uri("/"), body).await
}

fn count_requests(server: &Server, method: &str) -> usize {
    let requests = server.requests.lock().unwrap();
    requests
        .iter()
        .filter(|request| request.method() == method)
        .count()
}

#[tokio::test]
async fn retries_safe_requests_on_reused_connections() {
    for ending in WITHOUT_RESPONSE {
        for method in SAFE {
            let (server, client) = server(ending, 1).await;
            let first = send(&client, &server, "POST").await.unwrap();
            assert!(!first.info().reused && !first.info().retried);
            let second = send(&client, &server, method).await.unwrap();
            assert!(second.info().retried && !second.info().reused, "{ending:?}");
            let third = send(&client, &server, method).await.unwrap();
            assert!(third.info().reused && !third.info().retried);
            let twice = usize::from(!matches!(ending, Ending::DuringRequest));
            assert_eq!(
                count_requests(&server, method),
                2 + twice,
                "{ending:?} {method}"
            );
            assert_eq!(server.connections(), 2);
        }
    }
}

#[tokio::test]
async fn retries_idempotent_posts() {
    for ending in WITHOUT_RESPONSE {
        let (server, client) = server(ending, 1).await;
        send(&client, &server, "POST").await.unwrap();
        let mut harmless = request("POST", &server.uri("/"), RequestBody::full("x"));
        harmless.extensions_mut().insert(Idempotent);
        let response = client.send(harmless, TEST_TIMEOUT).await.unwrap();
        let info = response.body().connection().unwrap();
        assert!(info.retried && !info.reused, "{ending:?}");
        assert_eq!(server.connections(), 2);
    }
}

#[tokio::test]
async fn never_retries_unsafe_requests() {
    for ending in WITHOUT_RESPONSE.into_iter().chain(PARTIAL_RESPONSES) {
        for (at_request, method) in [0, 1]
            .into_iter()
            .flat_map(|at_request| UNSAFE.map(|it| (at_request, it)))
        {
            let (server, client) = server(ending, at_request).await;
            for _ in 0..at_request {
                send(&client, &server, "GET").await.unwrap();
            }
            let error = send(&client, &server, method).await.unwrap_err();
            assert_eq!(error.kind(), TransportErrorKind::Protocol, "{ending:?}");
            assert!(error.is_connection_lost(), "{ending:?} {method}");
            let once = usize::from(!matches!(ending, Ending::DuringRequest));
            assert_eq!(count_requests(&server, method), once, "{ending:?} {method}");
            assert_eq!(server.connections(), 1);
        }
    }
}

#[tokio::test]
async fn does_not_retry_new_connections_or_partial_responses() {
    let on_new = WITHOUT_RESPONSE
        .into_iter()
        .chain(PARTIAL_RESPONSES)
        .map(|ending| (ending, 0));
    for (ending, at_request) in on_new.chain(PARTIAL_RESPONSES.map(|ending| (ending, 1))) {
        let (server, client) = server(ending, at_request).await;
        for _ in 0..at_request {
            send(&client, &server, "POST").await.unwrap();
        }
        let error = send(&client, &server, "GET").await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::Protocol, "{ending:?}");
        let once = usize::from(!matches!(ending, Ending::DuringRequest));
        assert_eq!(count_requests(&server, "GET"), once, "{ending:?}");
        assert_eq!(server.connections(), 1);
    }
}

#[tokio::test]
async fn never_retries_streams() {
    for ending in WITHOUT_RESPONSE {
        let (server, client) = server(ending, 1).await;
        send(&client, &server, "GET").await.unwrap();
        let piece = Frame::data(Bytes::from_static(b"x"));
        let pieces = futures_util::stream::iter([Ok::<_, Infallible>(piece)]);
        let body = RequestBody::stream(StreamBody::new(pieces));
        let error = call(&client, "OPTIONS", &server.uri("/"), body)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::Protocol, "{ending:?}");
        assert_eq!(server.connections(), 1);
    }
}

#[tokio::test]
async fn retries_once_only() {
    let (context, client) = context_and_client();
    // Each connection sends one response, and the connection of a retry none.
    let server = tls_server(context, |mut stream: Tls, number, log| async move {
        for answered in [number < 3, false] {
            let Some(request) = read_request(&mut stream).await else {
                return;
            };
            log.lock().unwrap().push(request);
            if !answered {
                break;
            }
            write_response(&mut stream, "200 OK", "x").await;
        }
        let _ = stream.shutdown().await;
    })
    .await;
    // Three idle connections, each of which ends at its next request.
    let uri = server.uri("/");
    let mut held = vec![];
    for _ in 0..3 {
        let posting = request("POST", &uri, RequestBody::empty());
        held.push(client.send(posting, TEST_TIMEOUT).await.unwrap());
    }
    for response in held {
        response.into_body().collect(1).await.unwrap();
    }
    let error = send(&client, &server, "GET").await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Protocol);
    assert_eq!(
        (count_requests(&server, "GET"), server.connections()),
        (2, 4)
    );
}

#[tokio::test]
async fn does_not_retry_servers_that_close_before_tls() {
    let (_, client) = context_and_client();
    let server = tcp_server(|stream, _, _| async move { drop(stream) }).await;
    for method in ["GET", "POST"] {
        let connections = server.connections();
        let error = send(&client, &server, method).await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::Connect);
        assert_eq!(server.connections(), connections + 1);
    }
}

#[tokio::test]
async fn sends_nothing_on_half_closed_connections() {
    let (context, client) = context_and_client();
    let (event, mut events) = mpsc::unbounded_channel();
    let server = tls_server(context, move |mut stream: Tls, _, log| {
        let event = event.clone();
        async move {
            let request = read_request(&mut stream).await.unwrap();
            log.lock().unwrap().push(request);
            write_response(&mut stream, "200 OK", "x").await;
            // Sends nothing more, and still reads.
            let _ = stream.shutdown().await;
            event.send(None).unwrap();
            let more = read_request(&mut stream).await;
            event.send(Some(more.is_some())).unwrap();
        }
    })
    .await;
    for count in 1..=4 {
        let method = if count % 2 == 0 { "GET" } else { "POST" };
        let response = send(&client, &server, method).await.unwrap();
        assert!(!response.info().reused && !response.info().retried);
        assert_eq!(events.recv().await, Some(None));
        assert_eq!(events.recv().await, Some(Some(false)), "{method}");
        assert_eq!((server.connections(), server.requests()), (count, count));
    }
}
