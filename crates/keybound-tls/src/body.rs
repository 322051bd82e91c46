use crate::connection::Connection;
use crate::{TransportError, TransportErrorKind};
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use keybound_core::BoxError;
use std::fmt;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::time::Sleep;

/// The body of a request.
pub struct RequestBody {
    content: Content,
    /// What is left of a length known at first.
    left: Option<u64>,
    /// Set when all of it has been handed over.
    finished: Arc<AtomicBool>,
}

enum Content {
    Empty,
    Full(Bytes),
    Stream(Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>),
}

impl RequestBody {
    /// No body.
    pub fn empty() -> Self {
        Self::new(Content::Empty, Some(0))
    }

    /// A body that is at hand.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() {
            return Self::empty();
        }
        let length = bytes.len() as u64;
        Self::new(Content::Full(bytes), Some(length))
    }

    /// A body that is made while it is sent. Where its [`size_hint`](Body::size_hint) is exact it is sent with that
    /// `Content-Length` and must keep it, else in chunks. It is never sent twice.
    pub fn stream<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let length = body.size_hint().exact();
        Self::new(Content::Stream(Box::pin(body.map_err(Into::into))), length)
    }

    fn new(content: Content, left: Option<u64>) -> Self {
        Self {
            content,
            left,
            finished: Arc::new(AtomicBool::new(left == Some(0))),
        }
    }

    /// Tells, at any later time, whether all of it has been handed over.
    pub(crate) fn finished(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.finished)
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.left == Some(0)
    }

    /// Whether it is longer than `limit` bytes, or may be.
    pub(crate) fn may_exceed(&self, limit: u64) -> bool {
        self.left.is_none_or(|length| length > limit)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let polled = match &mut this.content {
            Content::Empty => Poll::Ready(None),
            Content::Full(bytes) => {
                let piece = bytes.split_to(bytes.len().min(PIECE));
                if bytes.is_empty() {
                    this.content = Content::Empty;
                }
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Content::Stream(body) => body.as_mut().poll_frame(cx),
        };
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                this.left = this.left.map(|left| left.saturating_sub(length));
                if this.left == Some(0) {
                    this.finished.store(true, Ordering::Release);
                }
            }
            Poll::Ready(None) => this.finished.store(true, Ordering::Release),
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Empty => true,
            Content::Full(_) => false,
            Content::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Empty => SizeHint::with_exact(0),
            Content::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Stream(body) => body.size_hint(),
        }
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestBody(…)")
    }
}

/// The body of an answer, read as it comes. The deadline of the request goes on over it. Read to its end, it gives the
/// connection back for the next request; dropped before, or failed, it closes the connection.
pub struct ResponseBody {
    incoming: Incoming,
    connection: Option<Connection>,
    deadline: Pin<Box<Sleep>>,
    state: State,
}

#[derive(PartialEq)]
enum State {
    Open,
    Ended,
}

impl ResponseBody {
    pub(crate) fn new(
        incoming: Incoming,
        connection: Connection,
        deadline: tokio::time::Instant,
    ) -> Self {
        let mut body = Self {
            incoming,
            connection: Some(connection),
            deadline: Box::pin(tokio::time::sleep_until(deadline)),
            state: State::Open,
        };
        body.release_at_end();
        body
    }

    /// Reads it to its end.
    ///
    /// # Errors
    /// [`TooLarge`](TransportErrorKind::TooLarge) where it is longer than `limit` bytes: the rest is not read and the
    /// connection is closed. [`Timeout`](TransportErrorKind::Timeout) where the request's deadline passes; else
    /// whatever ended it early.
    pub async fn collect(mut self, limit: usize) -> Result<Bytes, TransportError> {
        let announced = self.incoming.size_hint().lower();
        if usize::try_from(announced).map_or(true, |announced| announced > limit) {
            return Err(self.too_large(limit));
        }
        let mut first: Option<Bytes> = None;
        let mut rest = BytesMut::new();
        while let Some(frame) = self.frame().await {
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            let so_far = first.as_ref().map_or(0, Bytes::len) + rest.len();
            if data.len() > limit - so_far {
                return Err(self.too_large(limit));
            }
            if first.is_none() {
                first = Some(data);
            } else {
                rest.extend_from_slice(&data);
            }
        }
        let first = first.unwrap_or_default();
        if rest.is_empty() {
            return Ok(first);
        }
        let mut all = BytesMut::with_capacity(first.len() + rest.len());
        all.extend_from_slice(&first);
        all.extend_from_slice(&rest);
        Ok(all.freeze())
    }

    fn too_large(&self, limit: usize) -> TransportError {
        TransportError::new(
            TransportErrorKind::TooLarge,
            format!("{} answered more than {limit} bytes", self.peer_name()),
        )
    }

    fn peer_name(&self) -> &str {
        self.connection
            .as_ref()
            .map_or("the peer", |connection| &connection.peer().name)
    }

    /// Gives the connection back where nothing more is to be read from it.
    fn release_at_end(&mut self) {
        if self.incoming.is_end_stream()
            && let Some(connection) = self.connection.take()
        {
            connection.release();
        }
    }

    fn fail(&mut self, error: TransportError) -> TransportError {
        self.state = State::Ended;
        self.connection = None;
        error
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = TransportError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        let this = &mut *self;
        if this.state == State::Ended {
            return Poll::Ready(None);
        }
        if this.connection.is_some() && this.deadline.as_mut().poll(cx).is_ready() {
            let error = TransportError::new(
                TransportErrorKind::Timeout,
                format!(
                    "{} did not end its answer within the time given",
                    this.peer_name()
                ),
            );
            return Poll::Ready(Some(Err(this.fail(error))));
        }
        match std::task::ready!(Pin::new(&mut this.incoming).poll_frame(cx)) {
            Some(Ok(frame)) => {
                this.release_at_end();
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                let error = match &this.connection {
                    Some(connection) => connection.peer().exchange_failed(error),
                    None => TransportError::new(
                        TransportErrorKind::Protocol,
                        "the answer broke after its end",
                    )
                    .with_source(error),
                };
                Poll::Ready(Some(Err(this.fail(error))))
            }
            None => {
                this.state = State::Ended;
                if let Some(connection) = this.connection.take() {
                    connection.release();
                }
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.state == State::Ended || self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseBody(…)")
    }
}

/// A body at hand is handed over in pieces of this length, in bytes, as each is copied on its way.
const PIECE: usize = 64 * 1024;
