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
    /// `None` for no body. Boxed: requests are moved often.
    content: Option<Box<Content>>,
    /// The connection's flag, set when all of it has been read.
    finished: Option<Arc<AtomicBool>>,
}

struct Content {
    data: Data,
    /// Whether any of it has been read.
    is_started: bool,
    /// The bytes that remain, if the length is known.
    remaining: Option<u64>,
}

enum Data {
    Full(Bytes),
    Stream(Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>),
    /// A stream that was sent.
    Sent,
}

impl RequestBody {
    /// No body.
    pub fn empty() -> Self {
        Self {
            content: None,
            finished: None,
        }
    }

    /// A body in memory.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() {
            return Self::empty();
        }
        let length = bytes.len() as u64;
        Self::new(Data::Full(bytes), Some(length))
    }

    /// A body that is produced while it is sent. If its [`size_hint`](Body::size_hint) is exact, it is sent with that
    /// `Content-Length`, and a longer or shorter body fails the request; otherwise it is sent in chunks. It is never sent
    /// twice.
    pub fn stream<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let length = body.size_hint().exact();
        Self::new(Data::Stream(Box::pin(body.map_err(Into::into))), length)
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
        let Some(content) = &self.content else {
            return Some(Self::empty());
        };
        let bytes = content.unread_bytes()?;
        Some(Self::full(bytes.clone()))
    }

    /// Whether it can be sent: always, but for a stream that was sent.
    pub fn can_be_sent(&self) -> bool {
        let content = self.content.as_ref();
        content.is_none_or(|content| !matches!(content.data, Data::Sent))
    }

    /// Whether [`try_clone`](Self::try_clone) copies it.
    pub(crate) fn can_be_copied(&self) -> bool {
        let content = self.content.as_ref();
        content.is_none_or(|content| content.unread_bytes().is_some())
    }

    /// A copy; if it cannot be copied, the body itself, which can be sent no more than once.
    pub fn copy_or_take(&mut self) -> Self {
        self.try_clone()
            .unwrap_or_else(|| std::mem::replace(self, Self::new(Data::Sent, None)))
    }

    fn new(data: Data, length: Option<u64>) -> Self {
        Self {
            content: Some(Box::new(Content {
                data,
                is_started: false,
                remaining: length,
            })),
            finished: None,
        }
    }

    /// Sets a flag once all of the body has been read, and clears it before.
    pub(crate) fn report_finished(&mut self, flag: &Arc<AtomicBool>) {
        flag.store(self.is_empty(), Ordering::Release);
        self.finished = Some(Arc::clone(flag));
    }

    fn finish(&self) {
        if let Some(finished) = &self.finished {
            finished.store(true, Ordering::Release);
        }
    }

    /// Whether there is no body.
    pub(crate) fn is_empty(&self) -> bool {
        let content = self.content.as_ref();
        content.is_none_or(|content| content.remaining == Some(0))
    }

    /// Whether it is, or may be, longer than `limit` bytes.
    pub(crate) fn may_exceed(&self, limit: u64) -> bool {
        let content = self.content.as_ref();
        content.is_some_and(|content| content.remaining.is_none_or(|length| length > limit))
    }
}

impl Content {
    /// The bytes of a body in memory of which none has been read.
    fn unread_bytes(&self) -> Option<&Bytes> {
        match &self.data {
            Data::Full(bytes) if !self.is_started => Some(bytes),
            _ => None,
        }
    }
}

/// Takes the value out of a slot of type `Option<T>`; `None` if the type differs.
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
        let Some(content) = &mut self.content else {
            self.finish();
            return Poll::Ready(None);
        };
        content.is_started = true;
        let polled = match &mut content.data {
            Data::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Data::Full(bytes) => {
                let piece = bytes.split_to(bytes.len().min(MAX_FRAME));
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Data::Stream(body) => body.as_mut().poll_frame(cx),
            Data::Sent => Poll::Ready(Some(Err("the body has been sent".into()))),
        };
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                if content
                    .remaining
                    .is_some_and(|remaining| remaining < length)
                {
                    // Truncated to its announced length, it would appear complete.
                    let message = "the body is longer than its size hint";
                    return Poll::Ready(Some(Err(message.into())));
                }
                content.remaining = content
                    .remaining
                    .map(|remaining| remaining.saturating_sub(length));
                if content.remaining == Some(0) {
                    self.finish();
                }
            }
            Poll::Ready(None) => self.finish(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match self.content.as_ref().map(|content| &content.data) {
            None => true,
            Some(Data::Full(bytes)) => bytes.is_empty(),
            Some(Data::Stream(body)) => body.is_end_stream(),
            Some(Data::Sent) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self.content.as_ref().map(|content| &content.data) {
            None => SizeHint::with_exact(0),
            Some(Data::Full(bytes)) => SizeHint::with_exact(bytes.len() as u64),
            Some(Data::Stream(body)) => body.size_hint(),
            Some(Data::Sent) => SizeHint::default(),
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
