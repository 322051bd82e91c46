//! Requests whose connection ends before their answer: which are sent once more, and which never.
use crate::support::http::{receive, reply};
use crate::support::scene::bare;
use crate::support::server::{Server, Tls, raw, scripted};
use crate::support::{Answer, PATIENCE, call, request};
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

/// How a connection ends upon a request.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// TLS says that it ends, then TCP.
    Polite,
    /// TCP ends without a word of TLS.
    Cut,
    Reset,
    /// Polite, once the head of the request was read and before its body was.
    MidRequest,
    /// Some of an answer comes, then it ends.
    After(&'static str),
}

const SILENT: [Ending; 4] = [
    Ending::Polite,
    Ending::Cut,
    Ending::Reset,
    Ending::MidRequest,
];

const PARTS: [Ending; 5] = [
    Ending::After("H"),
    Ending::After("HTTP/1.1 20"),
    Ending::After("HTTP/1.1 100 Continue\r\n\r\n"),
    Ending::After("HTTP/1.1 200 OK\r\nContent-Le"),
    Ending::After("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhal"),
];

/// A server whose first connection ends upon its request number `upon`, counted from 0; all others are answered.
async fn server(ending: Ending, upon: usize) -> (Server, HttpsClient) {
    let (context, client) = bare();
    let server = scripted(context, move |mut stream: Tls, number, log| async move {
        for count in 0.. {
            let last = number == 0 && count == upon;
            if last && matches!(ending, Ending::MidRequest) {
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
            let Some(request) = receive(&mut stream).await else {
                return;
            };
            let head = request.method() == "HEAD";
            log.lock().unwrap().push(request);
            if last {
                end(stream, ending).await;
                return;
            }
            reply(&mut stream, "200 OK", if head { "" } else { "x" }).await;
        }
    })
    .await;
    (server, client)
}

async fn end(mut stream: Tls, ending: Ending) {
    match ending {
        Ending::Cut => drop(stream),
        Ending::Reset => stream.get_ref().set_zero_linger().unwrap(),
        Ending::After(words) => {
            stream.write_all(words.as_bytes()).await.unwrap();
            let _ = stream.shutdown().await;
        }
        Ending::Polite | Ending::MidRequest => {
            let _ = stream.shutdown().await;
        }
    }
}

async fn send(
    client: &HttpsClient,
    server: &Server,
    method: &str,
) -> Result<Answer, TransportError> {
    let body = match method {
        "GET" | "HEAD" | "OPTIONS" | "DELETE" => RequestBody::empty(),
        _ => RequestBody::full("x"),
    };
    call(client, method, &server.uri("/"), body).await
}

fn arrivals(server: &Server, method: &str) -> usize {
    let requests = server.requests.lock().unwrap();
    requests
        .iter()
        .filter(|request| request.method() == method)
        .count()
}

#[tokio::test]
async fn a_safe_request_is_sent_once_more_where_a_kept_connection_ends_without_a_word() {
    for ending in SILENT {
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
            let twice = usize::from(!matches!(ending, Ending::MidRequest));
            assert_eq!(arrivals(&server, method), 2 + twice, "{ending:?} {method}");
            assert_eq!(server.connections(), 2);
        }
    }
}

#[tokio::test]
async fn a_post_that_is_said_to_change_nothing_is_sent_once_more() {
    for ending in SILENT {
        let (server, client) = server(ending, 1).await;
        send(&client, &server, "POST").await.unwrap();
        let mut harmless = request("POST", &server.uri("/"), RequestBody::full("x"));
        harmless.extensions_mut().insert(Idempotent);
        let answer = client.send(harmless, PATIENCE).await.unwrap();
        let info = answer.extensions().get::<ConnectionInfo>().unwrap();
        assert!(info.repeated && !info.reused, "{ending:?}");
        assert_eq!(server.connections(), 2);
    }
}

#[tokio::test]
async fn a_request_that_changes_something_is_never_sent_again() {
    for ending in SILENT.into_iter().chain(PARTS) {
        for (upon, method) in [0, 1]
            .into_iter()
            .flat_map(|upon| UNSAFE.map(|it| (upon, it)))
        {
            let (server, client) = server(ending, upon).await;
            for _ in 0..upon {
                send(&client, &server, "GET").await.unwrap();
            }
            let error = send(&client, &server, method).await.unwrap_err();
            assert_eq!(error.kind(), TransportErrorKind::Protocol, "{ending:?}");
            assert!(error.is_connection_lost(), "{ending:?} {method}");
            let once = usize::from(!matches!(ending, Ending::MidRequest));
            assert_eq!(arrivals(&server, method), once, "{ending:?} {method}");
            assert_eq!(server.connections(), 1);
        }
    }
}

#[tokio::test]
async fn a_safe_request_is_not_sent_again_on_a_new_connection_or_after_part_of_an_answer() {
    let on_new = SILENT.into_iter().chain(PARTS).map(|ending| (ending, 0));
    for (ending, upon) in on_new.chain(PARTS.map(|ending| (ending, 1))) {
        let (server, client) = server(ending, upon).await;
        for _ in 0..upon {
            send(&client, &server, "POST").await.unwrap();
        }
        let error = send(&client, &server, "GET").await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::Protocol, "{ending:?}");
        let once = usize::from(!matches!(ending, Ending::MidRequest));
        assert_eq!(arrivals(&server, "GET"), once, "{ending:?}");
        assert_eq!(server.connections(), 1);
    }
}

#[tokio::test]
async fn a_stream_is_never_sent_again() {
    for ending in SILENT {
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
    let (context, client) = bare();
    // Each connection answers once, and a connection made for a repetition never.
    let server = scripted(context, |mut stream: Tls, number, log| async move {
        for answered in [number < 3, false] {
            let Some(request) = receive(&mut stream).await else {
                return;
            };
            log.lock().unwrap().push(request);
            if !answered {
                break;
            }
            reply(&mut stream, "200 OK", "x").await;
        }
        let _ = stream.shutdown().await;
    })
    .await;
    // Three connections at rest, each of which will end upon its next request.
    let uri = server.uri("/");
    let mut held = vec![];
    for _ in 0..3 {
        let posting = request("POST", &uri, RequestBody::empty());
        held.push(client.send(posting, PATIENCE).await.unwrap());
    }
    for answer in held {
        answer.into_body().collect(1).await.unwrap();
    }
    let error = send(&client, &server, "GET").await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Protocol);
    assert_eq!((arrivals(&server, "GET"), server.connections()), (2, 4));
}

#[tokio::test]
async fn a_server_that_closes_before_tls_gets_nothing_and_is_not_asked_again() {
    let (_, client) = bare();
    let server = raw(|stream, _, _| async move { drop(stream) }).await;
    for method in ["GET", "POST"] {
        let connections = server.connections();
        let error = send(&client, &server, method).await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::Connect);
        assert_eq!(server.connections(), connections + 1);
    }
}

#[tokio::test]
async fn nothing_is_sent_into_a_connection_that_the_server_has_half_closed() {
    let (context, client) = bare();
    let (event, mut events) = mpsc::unbounded_channel();
    let server = scripted(context, move |mut stream: Tls, _, log| {
        let event = event.clone();
        async move {
            let request = receive(&mut stream).await.unwrap();
            log.lock().unwrap().push(request);
            reply(&mut stream, "200 OK", "x").await;
            // No more comes from here, and whatever is sent would still be read.
            let _ = stream.shutdown().await;
            event.send(None).unwrap();
            let more = receive(&mut stream).await;
            event.send(Some(more.is_some())).unwrap();
        }
    })
    .await;
    for count in 1..=4 {
        let method = if count % 2 == 0 { "GET" } else { "POST" };
        let answer = send(&client, &server, method).await.unwrap();
        assert!(!answer.info().reused && !answer.info().repeated);
        assert_eq!(events.recv().await, Some(None));
        assert_eq!(events.recv().await, Some(Some(false)), "{method}");
        assert_eq!((server.connections(), server.requests()), (count, count));
    }
}
