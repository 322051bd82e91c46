use super::worker::Worker;
use crate::http::{self, DEFAULT_LIMIT, from_json};
use bytes::{Buf as _, Bytes};
use http_body::Body as _;
use keybound_core::{Result, Stage};
use serde::de::DeserializeOwned;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;

/// The body of a response, read on demand and within the deadline of the request.
pub struct ResponseBody {
    /// `None` after the end or an error.
    body: Option<http::ResponseBody>,
    chunk: Bytes,
    worker: Arc<Worker>,
}

impl ResponseBody {
    pub(super) fn new(body: http::ResponseBody, worker: Arc<Worker>) -> Self {
        Self {
            body: Some(body),
            chunk: Bytes::new(),
            worker,
        }
    }

    /// Reads the remaining body, at most 1 MiB.
    ///
    /// # Errors
    /// Those of [`bytes_limited`](Self::bytes_limited).
    pub fn bytes(self) -> Result<Bytes> {
        self.bytes_limited(DEFAULT_LIMIT)
    }

    /// Reads the remaining body, at most `limit` bytes.
    ///
    /// # Errors
    /// Those of [`http::ResponseBody::bytes_limited`].
    pub fn bytes_limited(self, limit: usize) -> Result<Bytes> {
        let Self {
            body,
            chunk,
            worker,
        } = self;
        let Some(body) = body else {
            return Ok(chunk);
        };
        let limit = limit.saturating_sub(chunk.len());
        let remaining = worker.run(Stage::Resource, body.bytes_limited(limit))?;
        if chunk.is_empty() {
            return Ok(remaining);
        }
        Ok([chunk, remaining].concat().into())
    }

    /// Reads the remaining body, at most 1 MiB, as JSON.
    ///
    /// # Errors
    /// Those of [`json_limited`](Self::json_limited).
    pub fn json<T: DeserializeOwned>(self) -> Result<T> {
        self.json_limited(DEFAULT_LIMIT)
    }

    /// Reads the remaining body, at most `limit` bytes, as JSON.
    ///
    /// # Errors
    /// Those of [`http::ResponseBody::json_limited`].
    pub fn json_limited<T: DeserializeOwned>(self, limit: usize) -> Result<T> {
        from_json(&self.bytes_limited(limit)?)
    }

    /// Reads the next chunk that is not empty. Returns false at the end.
    fn next_chunk(&mut self) -> Result<bool> {
        while let Some(mut body) = self.body.take() {
            let (body, frame) = self.worker.run(Stage::Resource, async move {
                let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
                Ok((body, frame))
            })?;
            let Some(frame) = frame else {
                return Ok(false);
            };
            self.chunk = frame?.into_data().unwrap_or_default();
            self.body = Some(body);
            if !self.chunk.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Errors contain a [`keybound::Error`](crate::Error).
impl Read for ResponseBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty()
            || (self.chunk.is_empty() && !self.next_chunk().map_err(io::Error::other)?)
        {
            return Ok(0);
        }
        let length = self.chunk.len().min(buffer.len());
        self.chunk.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseBody(…)")
    }
}
