use crate::connection::Connection;
use crate::{TransportError, TransportErrorKind};
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::{Empty, Full};
use hyper::body::Incoming;
use keybound_core::BoxError;
use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use tokio::time::Sleep;

/// The body of a request.
pub struct RequestBody {
    content: Content,
    /// Whether reading it has begun.
    begun: bool,
    /// What is left of a length known at first.
    left: Option<u64>,
    /// Set when all of it has been read.
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

    /// A body in memory.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() {
            return Self::empty();
        }
        let length = bytes.len() as u64;
        Self::new(Content::Full(bytes), Some(length))
    }

    /// A body that is produced while it is sent. Where its [`size_hint`](Body::size_hint) is exact it is sent with that
    /// `Content-Length` and must keep it, else in chunks; a piece that runs over it, or an early end, fails the request. It is never sent twice.
    pub fn stream<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let length = body.size_hint().exact();
        Self::new(Content::Stream(Box::pin(body.map_err(Into::into))), length)
    }

    /// Any body. One in memory (a `RequestBody`, [`Full`], [`Empty`] or text) can be sent again; every other one is a
    /// [`stream`](Self::stream).
    pub fn from_body<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut body = Some(body);
        let slot: &mut dyn Any = &mut body;
        if let Some(body) = slot.downcast_mut::<Option<Self>>().and_then(Option::take) {
            return body;
        }
        if slot.is::<Option<Empty<Bytes>>>() {
            return Self::empty();
        }
        if let Some(text) = slot.downcast_mut::<Option<String>>().and_then(Option::take) {
            return Self::full(text);
        }
        if let Some(full) = slot
            .downcast_mut::<Option<Full<Bytes>>>()
            .and_then(Option::take)
        {
            return Self::full(content_of(full));
        }
        body.map_or_else(Self::empty, Self::stream)
    }

    /// A copy of the body; `None` where it is a stream, or where reading it has begun.
    pub fn try_clone(&self) -> Option<Self> {
        match &self.content {
            Content::Empty if !self.begun => Some(Self::empty()),
            Content::Full(bytes) if !self.begun => Some(Self::full(bytes.clone())),
            _ => None,
        }
    }

    fn new(content: Content, left: Option<u64>) -> Self {
        Self {
            content,
            begun: false,
            left,
            finished: Arc::new(AtomicBool::new(left == Some(0))),
        }
    }

    /// Is set once all of the body has been read.
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
        this.begun = true;
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
                if this.left.is_some_and(|left| left < length) {
                    // Cut to that length it would pass for the whole.
                    let message = "the body is longer than its size hint said";
                    return Poll::Ready(Some(Err(message.into())));
                }
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

/// The body of a response, a stream. The deadline of the request applies to it too. Read to its end, it returns the connection
/// to the pool; dropped before, or failed, it closes the connection.
pub struct ResponseBody {
    /// What was read ahead.
    ahead: VecDeque<Result<Frame<Bytes>, TransportError>>,
    incoming: Option<Incoming>,
    connection: Option<Connection>,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl ResponseBody {
    pub(crate) fn new(
        incoming: Incoming,
        connection: Connection,
        deadline: tokio::time::Instant,
    ) -> Self {
        let mut body = Self {
            ahead: VecDeque::new(),
            incoming: Some(incoming).filter(|incoming| !incoming.is_end_stream()),
            connection: Some(connection),
            deadline: Some(Box::pin(tokio::time::sleep_until(deadline))),
        };
        body.release_at_end();
        body
    }

    /// A body in memory, for tests that simulate a server.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let frame = (!bytes.is_empty()).then(|| Ok(Frame::data(bytes)));
        Self {
            ahead: frame.into_iter().collect(),
            incoming: None,
            connection: None,
            deadline: None,
        }
    }

    /// Its beginning, at least `limit` bytes where it has so many. Later reads return these bytes too. Where the body breaks
    /// off, the bytes before that. Until the rest is read the connection is not used for other requests.
    pub async fn peek(&mut self, limit: usize) -> Bytes {
        let mut seen = BytesMut::new();
        for data in self.ahead.iter().flatten().filter_map(Frame::data_ref) {
            seen.extend_from_slice(data);
        }
        while seen.len() < limit {
            let Some(frame) = poll_fn(|cx| self.poll_incoming(cx)).await else {
                break;
            };
            if let Some(data) = frame.as_ref().ok().and_then(Frame::data_ref) {
                seen.extend_from_slice(data);
            }
            self.ahead.push_back(frame);
        }
        seen.freeze()
    }

    /// Reads it to its end.
    ///
    /// # Errors
    /// [`TooLarge`](TransportErrorKind::TooLarge) where it is longer than `limit` bytes: the rest is not read and the
    /// connection is closed. [`Timeout`](TransportErrorKind::Timeout) where the request's deadline passes; else
    /// whatever ended it early.
    pub async fn collect(mut self, limit: usize) -> Result<Bytes, TransportError> {
        let announced = self.size_hint().lower();
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

    /// The next piece from the connection; `None` after the last one.
    fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(None);
        };
        let late = self.deadline.as_mut();
        if late.is_some_and(|late| late.as_mut().poll(cx).is_ready()) {
            let error = TransportError::new(
                TransportErrorKind::Timeout,
                format!(
                    "{} did not end its answer within the time given",
                    self.peer_name()
                ),
            );
            return Poll::Ready(Some(Err(self.fail(error))));
        }
        let frame = match ready!(Pin::new(&mut *incoming).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                let error = match &self.connection {
                    Some(connection) => connection.peer().exchange_failed(error),
                    None => TransportError::new(
                        TransportErrorKind::Protocol,
                        "the answer broke after its end",
                    )
                    .with_source(error),
                };
                return Poll::Ready(Some(Err(self.fail(error))));
            }
            None => {
                self.incoming = None;
                return Poll::Ready(None);
            }
        };
        if incoming.is_end_stream() {
            self.incoming = None;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    /// Gives the connection back where nothing more is to be read from it.
    fn release_at_end(&mut self) {
        if self.is_end_stream()
            && let Some(connection) = self.connection.take()
        {
            connection.release();
        }
    }

    fn fail(&mut self, error: TransportError) -> TransportError {
        self.incoming = None;
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
        let frame = match self.ahead.pop_front() {
            Some(frame) => Some(frame),
            None => ready!(self.poll_incoming(cx)),
        };
        self.release_at_end();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let ended = self.incoming.as_ref().is_none_or(Body::is_end_stream);
        self.ahead.is_empty() && ended
    }

    fn size_hint(&self) -> SizeHint {
        let coming = self
            .incoming
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let ahead: u64 = self
            .ahead
            .iter()
            .flatten()
            .filter_map(Frame::data_ref)
            .map(|data| data.len() as u64)
            .sum();
        let mut hint = SizeHint::new();
        hint.set_lower(coming.lower().saturating_add(ahead));
        if let Some(upper) = coming.upper() {
            hint.set_upper(upper.saturating_add(ahead));
        }
        hint
    }
}

/// What a full body holds: it hands it over in one piece, at once.
fn content_of(full: Full<Bytes>) -> Bytes {
    let mut full = full;
    let mut context = Context::from_waker(std::task::Waker::noop());
    match Pin::new(&mut full).poll_frame(&mut context) {
        Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
        _ => Bytes::new(),
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseBody(…)")
    }
}

/// A body in memory is passed on in pieces of this length, in bytes, as each is copied.
const PIECE: usize = 64 * 1024;
