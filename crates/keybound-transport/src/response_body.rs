use crate::connection::Connection;
use crate::{ConnectionInfo, TransportError, TransportErrorKind};
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The body of a response, read on demand. The deadline of the request applies to it. A body that is read to its end returns its
/// connection to the pool; one that fails or is dropped before closes the connection.
pub struct ResponseBody {
    /// Frames that [`peek`](Self::peek) has read.
    peeked: VecDeque<Result<Frame<Bytes>, TransportError>>,
    incoming: Option<Incoming>,
    connection: Option<Box<Connection>>,
    info: Option<ConnectionInfo>,
}

impl ResponseBody {
    pub(crate) fn new(
        incoming: Incoming,
        connection: Box<Connection>,
        info: Option<ConnectionInfo>,
    ) -> Self {
        let mut body = Self {
            peeked: VecDeque::new(),
            incoming: Some(incoming).filter(|incoming| !incoming.is_end_stream()),
            connection: Some(connection),
            info,
        };
        body.release_at_end();
        body
    }

    /// A body in memory, for tests that simulate a server.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let frame = (!bytes.is_empty()).then(|| Ok(Frame::data(bytes)));
        Self {
            peeked: frame.into_iter().collect(),
            incoming: None,
            connection: None,
            info: None,
        }
    }

    /// The connection of the response. `None` for plain HTTP, and for a body that no connection returned.
    pub fn connection(&self) -> Option<&ConnectionInfo> {
        self.info.as_ref()
    }

    /// The first `limit` bytes or more, or all of a shorter body, without consuming them. A body that fails ends there. The
    /// connection is not used for other requests until the rest is read.
    pub async fn peek(&mut self, limit: usize) -> Bytes {
        let mut bytes = BytesMut::new();
        for data in self.peeked.iter().flatten().filter_map(Frame::data_ref) {
            bytes.extend_from_slice(data);
        }
        while bytes.len() < limit {
            let Some(frame) = poll_fn(|cx| self.poll_incoming(cx)).await else {
                break;
            };
            if let Some(data) = frame.as_ref().ok().and_then(Frame::data_ref) {
                bytes.extend_from_slice(data);
            }
            self.peeked.push_back(frame);
        }
        bytes.freeze()
    }

    /// Reads the body to its end.
    ///
    /// # Errors
    /// [`TooLarge`](TransportErrorKind::TooLarge) if it is longer than `limit` bytes: the rest is not read and the
    /// connection is closed. [`Timeout`](TransportErrorKind::Timeout) if the request's deadline passes. Otherwise the
    /// error of the connection.
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
            let length = first.as_ref().map_or(0, Bytes::len) + rest.len();
            if data.len() > limit - length {
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
            format!(
                "the response of {} is longer than {limit} bytes",
                self.peer_name()
            ),
        )
    }

    fn peer_name(&self) -> &str {
        self.connection
            .as_ref()
            .map_or("the peer", |connection| &connection.peer().name)
    }

    /// The next frame from the connection; `None` at the end.
    fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(&mut *incoming).poll_frame(cx);
        let connection = self.connection.as_mut();
        let timed_out = connection.is_some_and(|connection| match &polled {
            // The timer was started with the request.
            Poll::Ready(_) => connection.deadline_has_passed(),
            Poll::Pending => connection.poll_deadline(cx).is_ready(),
        });
        if timed_out {
            let error = TransportError::new(
                TransportErrorKind::Timeout,
                format!(
                    "{} did not complete its response before the deadline",
                    self.peer_name()
                ),
            );
            return Poll::Ready(Some(Err(self.fail(error))));
        }
        let frame = match ready!(polled) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                let error = match &self.connection {
                    Some(connection) => connection.peer().exchange_failed(error),
                    None => TransportError::new(
                        TransportErrorKind::Protocol,
                        "the response failed after its end",
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

    /// Returns the connection to the pool at the end of the body.
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
        let frame = match self.peeked.pop_front() {
            Some(frame) => Some(frame),
            None => ready!(self.poll_incoming(cx)),
        };
        self.release_at_end();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let ended = self.incoming.as_ref().is_none_or(Body::is_end_stream);
        self.peeked.is_empty() && ended
    }

    fn size_hint(&self) -> SizeHint {
        let incoming = self
            .incoming
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let peeked: u64 = self
            .peeked
            .iter()
            .flatten()
            .filter_map(Frame::data_ref)
            .map(|data| data.len() as u64)
            .sum();
        let mut hint = SizeHint::new();
        hint.set_lower(incoming.lower().saturating_add(peeked));
        if let Some(upper) = incoming.upper() {
            hint.set_upper(upper.saturating_add(peeked));
        }
        hint
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseBody(…)")
    }
}
