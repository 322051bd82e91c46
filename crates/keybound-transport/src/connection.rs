//! One HTTP/1.1 connection: who holds it may send the next request on it.
use crate::driver::Place;
use crate::failure::Peer;
use crate::metered::{Metered, Traffic};
use crate::pool::{Pool, PoolKey};
use crate::spare::{Fate, Spare};
use crate::{RequestBody, TransportError};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

/// A connection in use. Dropped, it is closed at once; [`release`](Self::release) gives it back to its pool.
pub(crate) struct Connection {
    /// `None` once it is of no use any more.
    sender: Option<http1::SendRequest<RequestBody>>,
    peer: Peer,
    place: Place,
    /// Drives it. Yields why it ended, where that was an error.
    task: JoinHandle<Option<hyper::Error>>,
    /// What the task has yielded.
    ended: Option<Option<hyper::Error>>,
    home: Option<(Weak<Pool>, PoolKey)>,
    /// Whether the body of the request under way has been handed over in full.
    request_finished: Arc<AtomicBool>,
    /// What went over it.
    traffic: Arc<Traffic>,
    used: bool,
    idle: bool,
}

/// What became of a request that was not answered.
pub(crate) enum Unanswered {
    /// The connection was gone before any of the request went out.
    Unsent(Box<http::Request<RequestBody>>),
    /// A kept connection ended without a byte of an answer. The request may have arrived; it may be sent once more, as
    /// it changes nothing.
    Repeatable(Box<http::Request<RequestBody>>),
    /// It may have arrived, or part of an answer has come.
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

    /// Sets where it goes when it is released.
    pub(crate) fn with_home(mut self, pool: &Arc<Pool>, key: PoolKey) -> Self {
        self.home = Some((Arc::downgrade(pool), key));
        self
    }

    /// Has it closed after this answer instead of going back to its pool.
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
        let notes = self.peer.notes.as_ref();
        notes.is_some_and(|notes| notes.certificate_requested())
    }

    pub(crate) fn is_closed(&self) -> bool {
        let sender = self.sender.as_ref();
        sender.is_none_or(http1::SendRequest::is_closed)
    }

    /// Says whether it lies in a pool. There it is not cut off when dropped: the peer is told that it ends.
    pub(crate) fn set_idle(&mut self, idle: bool) {
        self.idle = idle;
        if let Some(notes) = &self.peer.notes {
            notes.set_idle(idle);
        }
    }

    /// Waits until the last exchange is wholly over. False where the connection has ended with it.
    pub(crate) async fn is_ready(&mut self) -> bool {
        match &mut self.sender {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        }
    }

    /// Sends a request and waits for the head of the answer. Never sends it twice by itself.
    pub(crate) async fn send(
        &mut self,
        request: http::Request<RequestBody>,
    ) -> Result<http::Response<Incoming>, Unanswered> {
        let fresh = !std::mem::replace(&mut self.used, true);
        self.request_finished = request.body().finished();
        // What happens to the first request says something of the server; later ones may have met the end of its patience.
        let spare = if fresh {
            None
        } else {
            Spare::of(&request, &self.traffic)
        };
        let Some(sender) = &mut self.sender else {
            return Err(Unanswered::Unsent(Box::new(request)));
        };
        let mut outcome = pin!(sender.try_send_request(request));
        let outcome = tokio::select! {
            biased;
            outcome = &mut outcome => outcome,
            ended = &mut self.task => {
                self.ended = Some(ended.ok().flatten());
                // A request that was handed over at the very moment at which the connection ended may lie between the
                // two, where nobody looks any more. Giving the way up brings it back.
                self.sender = None;
                outcome.await
            }
        };
        let mut error = match outcome {
            Ok(response) => {
                if let Some(notes) = &self.peer.notes {
                    notes.answered();
                }
                return Ok(response);
            }
            Err(error) => error,
        };
        match error.take_message() {
            Some(request) if !fresh => Err(Unanswered::Unsent(Box::new(request))),
            unsent => {
                let mut cause = error.into_error();
                if unsent.is_some() {
                    // The connection ended before the request reached it, and its task knows why.
                    if let Some(error) = self.why_it_ended().await {
                        cause = error;
                    }
                }
                let fate = match spare {
                    Some(spare) if self.peer.merely_ended(&cause) => spare.fate(&self.traffic),
                    _ => Fate::Spent,
                };
                Err(match fate {
                    Fate::Untouched(request) => Unanswered::Unsent(request),
                    Fate::Harmless(request) => Unanswered::Repeatable(request),
                    Fate::Spent => Unanswered::Failed(self.peer.exchange_failed(cause)),
                })
            }
        }
    }

    async fn why_it_ended(&mut self) -> Option<hyper::Error> {
        match self.ended.take() {
            Some(ended) => ended,
            None => (&mut self.task).await.ok().flatten(),
        }
    }

    /// Gives it back to its pool after an answer was read to its end. It is closed where it has no pool, the server has
    /// closed it, or the request is still being sent.
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

/// Longest head of an answer, in bytes. It is also how much of a body is held at a time.
const MAX_HEAD: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Driver;
    use crate::target::Target;
    use crate::{TlsEngine, TransportErrorKind};
    use http_body_util::BodyExt as _;
    use keybound_core::tls::Host;
    use keybound_core::tls::SessionNotes;
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
            notes: Some(Arc::new(SessionNotes::new(TlsEngine::OpenSsl, false))),
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
        let Err(Unanswered::Unsent(again)) = connection.send(request(5)).await else {
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
        let Err(Unanswered::Failed(error)) = connection.send(request(1)).await else {
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
