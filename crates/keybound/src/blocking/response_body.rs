use super::worker::Worker;
use crate::http::{self, DEFAULT_LIMIT, from_json};
use bytes::{Buf as _, Bytes};
use http_body::{Body, Frame};
use keybound_core::{Result, Stage};
use serde::de::DeserializeOwned;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;

/// The body of a response, read on demand. The deadline of the request applies to it.
pub struct ResponseBody {
    /// `None` after the end or an error.
    body: Option<http::ResponseBody>,
    piece: Bytes,
    worker: Arc<Worker>,
}

impl ResponseBody {
    pub(super) fn new(body: http::ResponseBody, worker: Arc<Worker>) -> Self {
        Self {
            body: Some(body),
            piece: Bytes::new(),
            worker,
        }
    }

    /// Reads the rest of the body, at most 1 MiB.
    ///
    /// # Errors
    /// Those of [`bytes_limited`](Self::bytes_limited).
    pub fn bytes(self) -> Result<Bytes> {
        self.bytes_limited(DEFAULT_LIMIT)
    }

    /// Reads the rest of the body, at most `limit` bytes.
    ///
    /// # Errors
    /// Those of [`http::ResponseBody::bytes_limited`].
    pub fn bytes_limited(self, limit: usize) -> Result<Bytes> {
        let Self {
            body,
            piece,
            worker,
        } = self;
        let Some(body) = body else {
            return Ok(piece);
        };
        let rest = limit.saturating_sub(piece.len());
        let rest = worker.run(Stage::Resource, body.bytes_limited(rest))?;
        if piece.is_empty() {
            return Ok(rest);
        }
        Ok([piece, rest].concat().into())
    }

    /// Reads the rest of the body, at most 1 MiB, as JSON.
    ///
    /// # Errors
    /// Those of [`json_limited`](Self::json_limited).
    pub fn json<T: DeserializeOwned>(self) -> Result<T> {
        self.json_limited(DEFAULT_LIMIT)
    }

    /// Reads the rest of the body, at most `limit` bytes, as JSON.
    ///
    /// # Errors
    /// Those of [`http::ResponseBody::json_limited`].
    pub fn json_limited<T: DeserializeOwned>(self, limit: usize) -> Result<T> {
        from_json(&self.bytes_limited(limit)?)
    }

    /// Gets the next piece that is not empty. False at the end.
    fn fetch(&mut self) -> Result<bool> {
        while let Some(mut body) = self.body.take() {
            let (body, frame) = self.worker.run(Stage::Resource, async move {
                let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
                Ok((body, frame))
            })?;
            let Some(frame) = frame else {
                return Ok(false);
            };
            self.piece = frame?.into_data().unwrap_or_default();
            self.body = Some(body);
            if !self.piece.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Errors hold a [`keybound::Error`](crate::Error).
impl Read for ResponseBody {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if room.is_empty() || (self.piece.is_empty() && !self.fetch().map_err(io::Error::other)?) {
            return Ok(0);
        }
        let length = self.piece.len().min(room.len());
        self.piece.copy_to_slice(&mut room[..length]);
        Ok(length)
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseBody(…)")
    }
}

/// A body that another thread hands over piece by piece, one ahead of what is sent. It has ended where that is said, and
/// not where that thread is gone: part of a body must not pass for the whole.
pub(super) fn pieces() -> (mpsc::Sender<Piece>, Pieces) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, Pieces(receiver))
}

pub(super) enum Piece {
    Data(Bytes),
    End,
    Failed(io::Error),
}

pub(super) struct Pieces(mpsc::Receiver<Piece>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(match ready!(self.0.poll_recv(cx)) {
            Some(Piece::Data(data)) => Some(Ok(Frame::data(data))),
            Some(Piece::End) => None,
            Some(Piece::Failed(error)) => Some(Err(error)),
            None => {
                let message = "the body was given up before its end";
                Some(Err(io::Error::other(message)))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    #[tokio::test]
    async fn a_body_is_whole_only_where_its_reader_said_so() {
        for says_so in [true, false] {
            let (sender, body) = pieces();
            let reader = async move {
                let half = Piece::Data(Bytes::from_static(b"half"));
                assert!(sender.send(half).await.is_ok());
                if says_so {
                    assert!(sender.send(Piece::End).await.is_ok());
                }
            };
            let (read, ()) = tokio::join!(body.collect(), reader);
            assert_eq!(read.is_ok(), says_so);
        }
    }
}
