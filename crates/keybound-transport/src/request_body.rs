use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::{Empty, Full};
use keybound_core::BoxError;
use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

/// The body of a request.
pub struct RequestBody {
    content: Content,
    /// Whether any of it has been read.
    is_started: bool,
    /// The bytes that remain, where the length is known.
    remaining: Option<u64>,
    /// Set when all of it has been read.
    finished: Arc<AtomicBool>,
}

enum Content {
    Full(Bytes),
    Stream(Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>),
}

impl RequestBody {
    /// No body.
    pub fn empty() -> Self {
        Self::full(Bytes::new())
    }

    /// A body in memory.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let length = bytes.len() as u64;
        Self::new(Content::Full(bytes), Some(length))
    }

    /// A body that is produced while it is sent. Where its [`size_hint`](Body::size_hint) is exact, it is sent with that
    /// `Content-Length`, and a longer or shorter body fails the request; otherwise it is sent in chunks. It is never sent
    /// twice.
    pub fn stream<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let length = body.size_hint().exact();
        Self::new(Content::Stream(Box::pin(body.map_err(Into::into))), length)
    }

    /// Converts any body. One in memory (a `RequestBody`, [`Full`], [`Empty`] or [`String`]) can be sent again; any other is a
    /// [`stream`](Self::stream).
    pub fn from_body<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut body = Some(body);
        let slot: &mut dyn Any = &mut body;
        if let Some(body) = take::<Self>(slot) {
            return body;
        }
        if take::<Empty<Bytes>>(slot).is_some() {
            return Self::empty();
        }
        if let Some(text) = take::<String>(slot) {
            return Self::full(text);
        }
        if let Some(full) = take::<Full<Bytes>>(slot) {
            return Self::full(full.into_inner().unwrap_or_default());
        }
        body.map_or_else(Self::empty, Self::stream)
    }

    /// Copies the body; `None` for a stream, or once any of it has been read.
    pub fn try_clone(&self) -> Option<Self> {
        match &self.content {
            Content::Full(bytes) if !self.is_started => Some(Self::full(bytes.clone())),
            _ => None,
        }
    }

    fn new(content: Content, length: Option<u64>) -> Self {
        Self {
            content,
            is_started: false,
            remaining: length,
            finished: Arc::new(AtomicBool::new(length == Some(0))),
        }
    }

    /// A flag that is set once all of the body has been read.
    pub(crate) fn finished(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.finished)
    }

    /// Whether there is no body.
    pub(crate) fn is_empty(&self) -> bool {
        self.remaining == Some(0)
    }

    /// Whether it is, or may be, longer than `limit` bytes.
    pub(crate) fn may_exceed(&self, limit: u64) -> bool {
        self.remaining.is_none_or(|length| length > limit)
    }
}

/// Takes the value out of a slot of type `Option<T>`; `None` where the type differs.
fn take<T: 'static>(slot: &mut dyn Any) -> Option<T> {
    slot.downcast_mut::<Option<T>>()?.take()
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        this.is_started = true;
        let polled = match &mut this.content {
            Content::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Full(bytes) => {
                let piece = bytes.split_to(bytes.len().min(MAX_FRAME));
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Content::Stream(body) => body.as_mut().poll_frame(cx),
        };
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                if this.remaining.is_some_and(|remaining| remaining < length) {
                    // Truncated to its announced length, it would appear complete.
                    let message = "the body is longer than its size hint";
                    return Poll::Ready(Some(Err(message.into())));
                }
                this.remaining = this
                    .remaining
                    .map(|remaining| remaining.saturating_sub(length));
                if this.remaining == Some(0) {
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
            Content::Full(bytes) => bytes.is_empty(),
            Content::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
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

/// The maximum size of a frame of a body in memory, in bytes: each is copied.
const MAX_FRAME: usize = 64 * 1024;
