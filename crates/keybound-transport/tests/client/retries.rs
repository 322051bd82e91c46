//! Requests whose connection ends before their response: which are sent once more, and which never.
use crate::support::fixture::context_and_client;
use crate::support::http::{read_request, write_response};
use crate::support::server::{Server, Tls, tcp_server, tls_server};
use crate::support::{Response, TEST_TIMEOUT, call, request};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::StreamBody;
use keybound_transport::{
    ConnectionInfo, HttpsClient, Idempotent, RequestBody, TransportError, TransportErrorKind,
};
use std::convert::Infallible;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

const SAFE: [&str; 3] = ["GET", "HEAD", "OPTIONS"];
/// PUT and DELETE too: idempotent by their definition, and not at every service.
const UNSAFE: [&str; 4] = ["POST", "PUT", "PATCH", "DELETE"];

/// How a connection ends at_request a request.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// TLS says that it ends, then TCP.
    CloseNotify,
    /// TCP ends without a word of TLS.
    TcpClose,
    Reset,
    /// CloseNotify, once the head of the request was read and before its body was.
    DuringRequest,
    /// Some of an response comes, then it ends.
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

/// A server whose first connection ends at_request its request number `at_request`, counted from 0; all others are answered.
async fn server(ending: Ending, at_request: usize) -> (Server, HttpsClient) {
    let (context, client) = context_and_client();
    let server = tls_server(context, move |mut stream: Tls, number, log| async move {
        for count in 0.. {
            let last = number == 0 && count == at_request;
            if last && matches!(ending, Ending::DuringRequest) {
                let mut head = vec![];
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else {
                        return;
                    };
                    head.push(byte);
                }
                let _ = stream.shutdown().await;
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
async fn a_safe_request_is_sent_once_more_where_a_kept_connection_ends_without_a_word() {
    for ending in WITHOUT_RESPONSE {
        for method in SAFE {
            let (server, client) = server(ending, 1).await;
            let first = send(&client, &server, "POST").await.unwrap();
            assert!(!first.info().reused && !first.info().repeated);
            let second = send(&client, &server, method).await.unwrap();
            assert!(
                second.info().repeated && !second.info().reused,
                "{ending:?}"
            );
            let third = send(&client, &server, method).await.unwrap();
            assert!(third.info().reused && !third.info().repeated);
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
async fn a_post_that_is_said_to_change_nothing_is_sent_once_more() {
    for ending in WITHOUT_RESPONSE {
        let (server, client) = server(ending, 1).await;
        send(&client, &server, "POST").await.unwrap();
        let mut harmless = request("POST", &server.uri("/"), RequestBody::full("x"));
        harmless.extensions_mut().insert(Idempotent);
        let response = client.send(harmless, TEST_TIMEOUT).await.unwrap();
        let info = response.extensions().get::<ConnectionInfo>().unwrap();
        assert!(info.repeated && !info.reused, "{ending:?}");
        assert_eq!(server.connections(), 2);
    }
}

#[tokio::test]
async fn a_request_that_changes_something_is_never_sent_again() {
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
async fn a_safe_request_is_not_sent_again_on_a_new_connection_or_after_part_of_an_answer() {
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
async fn a_stream_is_never_sent_again() {
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
async fn a_request_is_sent_once_more_and_no_more() {
    let (context, client) = context_and_client();
    // Each connection answers once, and a connection made for a repetition never.
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
    // Three connections at rest, each of which will end at_request its next request.
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
async fn a_server_that_closes_before_tls_gets_nothing_and_is_not_asked_again() {
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
async fn nothing_is_sent_into_a_connection_that_the_server_has_half_closed() {
    let (context, client) = context_and_client();
    let (event, mut events) = mpsc::unbounded_channel();
    let server = tls_server(context, move |mut stream: Tls, _, log| {
        let event = event.clone();
        async move {
            let request = read_request(&mut stream).await.unwrap();
            log.lock().unwrap().push(request);
            write_response(&mut stream, "200 OK", "x").await;
            // No more comes from here, and whatever is sent would still be read.
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
        assert!(!response.info().reused && !response.info().repeated);
        assert_eq!(events.recv().await, Some(None));
        assert_eq!(events.recv().await, Some(Some(false)), "{method}");
        assert_eq!((server.connections(), server.requests()), (count, count));
    }
}
