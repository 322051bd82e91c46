//! One HTTP/1.1 connection: its owner may send the next request on it.
use crate::driver::Place;
use crate::failure::Peer;
use crate::metered::{Metered, Traffic};
use crate::pool::{Pool, PoolKey};
use crate::replayable_request::{ReplayableRequest, RetryDecision};
use crate::{RequestBody, TransportError};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

/// A connection in use. Dropped, it is aborted; [`release`](Self::release) returns it to its pool.
pub(crate) struct Connection {
    /// `None` once the connection is no longer usable.
    sender: Option<http1::SendRequest<RequestBody>>,
    peer: Peer,
    place: Place,
    /// Drives the connection. Returns the error that ended it, where one did.
    task: JoinHandle<Option<hyper::Error>>,
    /// The result of the task.
    ended: Option<Option<hyper::Error>>,
    home: Option<(Weak<Pool>, PoolKey)>,
    /// Whether the body of the current request has been passed to hyper in full.
    request_finished: Arc<AtomicBool>,
    /// Counts the bytes that are read and written.
    traffic: Arc<Traffic>,
    used: bool,
    idle: bool,
}

/// Why a request has no response.
pub(crate) enum SendError {
    /// The connection ended before any of the request was sent.
    NotSent(Box<http::Request<RequestBody>>),
    /// A reused connection ended without a byte of a response. The server may have received the request, which is
    /// idempotent.
    SafeToRetry(Box<http::Request<RequestBody>>),
    /// The server may have received the request, or part of a response was read.
    Failed(TransportError),
}

impl Connection {
    /// Starts HTTP on a stream. Its task runs on the place's runtime.
    pub(crate) async fn start<S>(
        stream: S,
        peer: Peer,
        place: Place,
    ) -> Result<Self, TransportError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let stream = Metered::new(stream);
        let traffic = stream.traffic();
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_HEAD)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| peer.exchange_failed(error))?;
        let task = place.handle().spawn(async move { connection.await.err() });
        Ok(Self {
            sender: Some(sender),
            peer,
            place,
            task,
            ended: None,
            home: None,
            request_finished: Arc::default(),
            traffic,
            used: false,
            idle: false,
        })
    }

    /// Sets the pool that takes it when it is released.
    pub(crate) fn with_home(mut self, pool: &Arc<Pool>, key: PoolKey) -> Self {
        self.home = Some((Arc::downgrade(pool), key));
        self
    }

    /// Closes the connection after this response instead of returning it to its pool.
    pub(crate) fn retire(&mut self) {
        self.home = None;
    }

    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Whether the server has asked for the certificate on it.
    pub(crate) fn certificate_requested(&self) -> bool {
        let state = self.peer.state.as_ref();
        state.is_some_and(|state| state.certificate_requested())
    }

    pub(crate) fn is_closed(&self) -> bool {
        let sender = self.sender.as_ref();
        sender.is_none_or(http1::SendRequest::is_closed)
    }

    /// Sets whether it is idle in a pool. An idle connection is closed with `close_notify` when dropped, not aborted.
    pub(crate) fn set_idle(&mut self, idle: bool) {
        self.idle = idle;
        if let Some(state) = &self.peer.state {
            state.set_idle(idle);
        }
    }

    /// Waits until the last exchange is complete. False where the connection ended with it.
    pub(crate) async fn is_ready(&mut self) -> bool {
        match &mut self.sender {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        }
    }

    /// Sends a request once and waits for the head of the response.
    pub(crate) async fn send(
        &mut self,
        request: http::Request<RequestBody>,
    ) -> Result<http::Response<Incoming>, SendError> {
        let fresh = !std::mem::replace(&mut self.used, true);
        self.request_finished = request.body().finished();
        // An error of the first request is one of the server; later ones may meet its idle timeout.
        let replayable = if fresh {
            None
        } else {
            ReplayableRequest::of(&request, &self.traffic)
        };
        let Some(sender) = &mut self.sender else {
            return Err(SendError::NotSent(Box::new(request)));
        };
        let mut outcome = pin!(sender.try_send_request(request));
        let outcome = tokio::select! {
            biased;
            outcome = &mut outcome => outcome,
            ended = &mut self.task => {
                self.ended = Some(ended.ok().flatten());
                // A request that is passed on while the connection ends may remain in the channel between the two.
                // Dropping the sender returns it.
                self.sender = None;
                outcome.await
            }
        };
        let mut error = match outcome {
            Ok(response) => {
                if let Some(state) = &self.peer.state {
                    state.on_response();
                }
                return Ok(response);
            }
            Err(error) => error,
        };
        match error.take_message() {
            Some(request) if !fresh => Err(SendError::NotSent(Box::new(request))),
            unsent => {
                let mut cause = error.into_error();
                if unsent.is_some() {
                    // The connection ended before it took the request, and its task has the cause.
                    if let Some(error) = self.end_cause().await {
                        cause = error;
                    }
                }
                let decision = match replayable {
                    Some(request) if self.peer.is_connection_lost(&cause) => {
                        request.decide(&self.traffic)
                    }
                    _ => RetryDecision::DoNotRetry,
                };
                Err(match decision {
                    RetryDecision::NotSent(request) => SendError::NotSent(request),
                    RetryDecision::SafeToRetry(request) => SendError::SafeToRetry(request),
                    RetryDecision::DoNotRetry => {
                        SendError::Failed(self.peer.exchange_failed(cause))
                    }
                })
            }
        }
    }

    async fn end_cause(&mut self) -> Option<hyper::Error> {
        match self.ended.take() {
            Some(ended) => ended,
            None => (&mut self.task).await.ok().flatten(),
        }
    }

    /// Returns it to its pool after the whole response was read. It is closed where it has no pool, the server has closed
    /// it, or the request is still being sent.
    pub(crate) fn release(mut self) {
        let sent = self.request_finished.load(Ordering::Acquire) && !self.traffic.is_blocked();
        if !sent || self.is_closed() {
            return;
        }
        let Some((home, key)) = self.home.clone() else {
            return;
        };
        if let Some(pool) = home.upgrade() {
            self.set_idle(true);
            pool.put(key, self);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.idle {
            self.task.abort();
        }
    }
}

/// Runs work in a place; it ends when the result is no longer waited for.
pub(crate) async fn run_in<T: Send + 'static>(
    place: &Place,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, tokio::task::JoinError> {
    struct AbortOnDrop<T>(JoinHandle<T>);
    impl<T> Drop for AbortOnDrop<T> {
        fn drop(&mut self) {
            self.0.abort();
        }
    }
    let mut task = AbortOnDrop(place.handle().spawn(work));
    pin!(&mut task.0).await
}

/// The limit of a response head, in bytes; also how much of a body is buffered.
const MAX_HEAD: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Driver;
    use crate::target::Target;
    use crate::{TlsEngine, TransportErrorKind};
    use http_body_util::BodyExt as _;
    use keybound_core::tls::ConnectionState;
    use keybound_core::tls::Host;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use std::time::Duration;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadBuf};

    async fn connection(room: usize) -> (Connection, DuplexStream, Arc<Pool>, PoolKey) {
        let (ours, theirs) = tokio::io::duplex(room);
        let (connection, pool, key) = connection_over(ours).await;
        (connection, theirs, pool, key)
    }

    async fn connection_over<S>(stream: S) -> (Connection, Arc<Pool>, PoolKey)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let place = Driver::Caller.place().unwrap();
        let key = PoolKey {
            target: Target {
                host: Host::Name("a.b".into()),
                port: 443,
            },
            runtime: place.handle().id(),
        };
        let peer = Peer {
            name: "a.b:443".into(),
            state: Some(Arc::new(ConnectionState::new(TlsEngine::OpenSsl, false))),
            last_key_error: None,
        };
        let pool = Pool::new(Duration::from_secs(60));
        let connection = Connection::start(stream, peer, place).await.unwrap();
        let connection = connection.with_home(&pool, key.clone());
        (connection, pool, key)
    }

    fn request(length: usize) -> http::Request<RequestBody> {
        let mut request = http::Request::new(RequestBody::full(vec![b'x'; length]));
        *request.method_mut() = http::Method::POST;
        request
    }

    #[tokio::test]
    async fn it_goes_back_only_when_the_request_was_written() {
        for (length, goes_back) in [(10, true), (10_000, false)] {
            let (mut connection, mut theirs, pool, key) = connection(1000).await;
            let server = async {
                let mut head = vec![];
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(theirs.read_u8().await.unwrap());
                }
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                theirs.write_all(answer).await.unwrap();
            };
            let (answer, ()) = tokio::join!(connection.send(request(length)), server);
            assert!(answer.is_ok());
            assert!(connection.request_finished.load(Ordering::Acquire));
            connection.release();
            assert_eq!(pool.take(&key, false).is_some(), goes_back, "{length}");
        }
    }

    /// A stream whose writes fail from some time on, before its end has shown.
    struct Breaking(DuplexStream, Arc<AtomicBool>);

    impl AsyncRead for Breaking {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<std::io::Result<()>> {
            Pin::new(&mut self.0).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Breaking {
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

        fn poll_shutdown(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<std::io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }

    #[tokio::test]
    async fn what_could_not_be_written_at_all_is_unsent_whatever_it_is() {
        let (ours, mut theirs) = tokio::io::duplex(1000);
        let broken = Arc::new(AtomicBool::new(false));
        let stream = Breaking(ours, Arc::clone(&broken));
        let (mut connection, ..) = connection_over(stream).await;
        let server = async {
            theirs.read_exact(&mut [0; 20]).await.unwrap();
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            theirs.write_all(answer).await.unwrap();
        };
        let (answer, ()) = tokio::join!(connection.send(request(5)), server);
        assert!(answer.is_ok());
        broken.store(true, Ordering::Release);
        let Err(SendError::NotSent(again)) = connection.send(request(5)).await else {
            panic!("nothing was sent");
        };
        assert_eq!(again.method(), http::Method::POST);
        let body = again.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(&body[..], b"xxxxx");
    }

    #[tokio::test]
    async fn a_fresh_one_that_ended_before_the_request_says_why() {
        let (mut connection, mut theirs, ..) = connection(1000).await;
        theirs.write_all(b"garbage\r\n\r\n").await.unwrap();
        while !connection.is_closed() {
            tokio::task::yield_now().await;
        }
        let Err(SendError::Failed(error)) = connection.send(request(1)).await else {
            panic!("nobody was there to answer");
        };
        assert_eq!(error.kind(), TransportErrorKind::Protocol);
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(!source.contains("canceled"), "{source}");
        let mut sent = vec![];
        theirs.read_to_end(&mut sent).await.unwrap();
        assert!(sent.is_empty());
    }
}
