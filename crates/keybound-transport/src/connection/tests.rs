use super::*;
use crate::origin::Origin;
use crate::pool::Pool;
use crate::{TlsEngine, TransportErrorKind};
use keybound_core::tls::ConnectionState;
use keybound_core::tls::Host;
use keybound_testing::http1::read_head;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadBuf};

async fn connection(room: usize) -> (Box<Connection>, DuplexStream, Arc<OriginPool>) {
    let (ours, theirs) = tokio::io::duplex(room);
    let (connection, pool) = connection_over(ours).await;
    (connection, theirs, pool)
}

async fn connection_over<S>(stream: S) -> (Box<Connection>, Arc<OriginPool>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let runtime = RuntimeHandle::current().unwrap();
    let peer = Peer {
        name: "a.b:443".into(),
        state: Some(Arc::new(ConnectionState::new(TlsEngine::OpenSsl, false))),
        last_key_error: None,
    };
    let origin = Origin {
        host: Host::Name("a.b".into()),
        port: 443,
    };
    let pool = Arc::new(OriginPool::new(origin, Duration::from_secs(60)).unwrap());
    let mut connection = Connection::start(stream, peer, runtime).await.unwrap();
    connection.set_pool(&pool);
    connection.set_deadline(Instant::now() + Duration::from_secs(60));
    (connection, pool)
}

fn request(length: usize) -> http::Request<RequestBody> {
    let mut request = http::Request::new(RequestBody::full(vec![b'x'; length]));
    *request.method_mut() = http::Method::POST;
    request
}

#[tokio::test]
async fn returns_to_the_pool_only_after_the_request_was_written() {
    let runtime = RuntimeHandle::current().unwrap().handle().id();
    for (length, is_returned) in [(10, true), (10_000, false)] {
        let (mut connection, mut theirs, pool) = connection(1000).await;
        let server = async {
            read_head(&mut theirs).await.unwrap();
            let response = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            theirs.write_all(response).await.unwrap();
        };
        let (response, ()) = tokio::join!(connection.send(request(length)), server);
        assert!(response.is_ok());
        assert!(connection.request_finished.load(Ordering::Acquire));
        connection.release();
        assert_eq!(pool.take(runtime, false).is_some(), is_returned, "{length}");
    }
}

/// A stream whose writes fail once the flag is set.
struct BrokenStream(DuplexStream, Arc<AtomicBool>);

impl AsyncRead for BrokenStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for BrokenStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        if self.1.load(Ordering::Acquire) {
            return Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn request_of_which_nothing_was_written_is_not_sent() {
    let (ours, mut theirs) = tokio::io::duplex(1000);
    let broken = Arc::new(AtomicBool::new(false));
    let stream = BrokenStream(ours, Arc::clone(&broken));
    let (mut connection, ..) = connection_over(stream).await;
    let server = async {
        theirs.read_exact(&mut [0; 20]).await.unwrap();
        let response = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        theirs.write_all(response).await.unwrap();
    };
    let (response, ()) = tokio::join!(connection.send(request(5)), server);
    assert!(response.is_ok());
    broken.store(true, Ordering::Release);
    let Err(SendError::NotSent(body, _)) = connection.send(request(5)).await else {
        panic!("nothing was sent");
    };
    // Hyper has accepted the request, and does not return it.
    assert!(body.is_none());
}

#[tokio::test]
async fn error_names_why_a_new_connection_ended() {
    let (mut connection, mut theirs, ..) = connection(1000).await;
    theirs.write_all(b"garbage\r\n\r\n").await.unwrap();
    while !connection.is_closed() {
        tokio::task::yield_now().await;
    }
    let Err(SendError::Failed(error)) = connection.send(request(1)).await else {
        panic!("the connection has ended");
    };
    assert_eq!(error.kind(), TransportErrorKind::Protocol);
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(!source.contains("canceled"), "{source}");
    let mut sent = vec![];
    theirs.read_to_end(&mut sent).await.unwrap();
    assert!(sent.is_empty());
}

#[tokio::test]
async fn pool_closes_the_oldest_idle_connection_of_a_host_that_has_too_many() {
    let (first, mut oldest, pool) = connection(1000).await;
    pool.put(first);
    let mut peers = Vec::new();
    for _ in 0..16 {
        let (mut connection, peer, _) = connection(1000).await;
        connection.set_idle(true);
        pool.put(connection);
        peers.push(peer);
    }
    let runtime = RuntimeHandle::current().unwrap().handle().id();
    let idle: Vec<_> = std::iter::from_fn(|| pool.take(runtime, false)).collect();
    assert_eq!(idle.len(), 16);
    assert!(idle.iter().all(|(connection, _)| !connection.is_closed()));
    let closed = tokio::time::timeout(Duration::from_secs(30), async {
        oldest.read(&mut [0]).await.unwrap()
    });
    assert_eq!(closed.await, Ok(0));
}

#[tokio::test]
async fn pool_stores_a_limited_number_of_origins() {
    let pool = Pool::new(Duration::from_secs(60));
    let origin = |number: usize| {
        let uri = format!("https://host{number}.example/").parse().unwrap();
        pool.origin(&uri).unwrap()
    };
    let (used, _peer, _) = connection(1000).await;
    origin(0).put(used);
    for number in 1..1024 {
        origin(number);
    }
    assert_eq!(pool.len(), 1024);
    for number in 1024..2048 {
        origin(number);
        assert!(pool.len() <= 1024);
    }
    let runtime = RuntimeHandle::current().unwrap().handle().id();
    assert!(
        origin(0).take(runtime, false).is_some(),
        "one with idle connections stays"
    );
}

#[tokio::test]
async fn origin_is_the_same_for_each_spelling_of_its_authority() {
    let pool = Pool::new(Duration::from_secs(60));
    let origin = |uri: &str| pool.origin(&uri.parse().unwrap());
    let one = origin("https://a.example/x").unwrap();
    for same in [
        "https://a.example",
        "https://A.EXAMPLE/y",
        "https://a.example.:443/",
    ] {
        assert!(Arc::ptr_eq(&one, &origin(same).unwrap()), "{same}");
    }
    for other in ["https://a.example:444/", "https://b.example/"] {
        assert!(!Arc::ptr_eq(&one, &origin(other).unwrap()), "{other}");
    }
    for rejected in ["http://a.example/", "https://user@a.example/", "/a.example"] {
        assert!(origin(rejected).is_err(), "{rejected}");
    }
}
