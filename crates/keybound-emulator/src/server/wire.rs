//! A minimal HTTP/1.1 server. It can request a certificate after the head of a request and inject faults, which HTTP
//! libraries do not support.
#[cfg(test)]
mod tests;

use super::head::{Framing, Head, MAX_HEADERS};
use super::hosts::Hosts;
use super::read_error::{ReadError, reject};
use bytes::{Buf as _, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Response, StatusCode};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// A stream and its read buffer.
pub(super) struct Wire<S> {
    pub(super) stream: S,
    pub(super) buffer: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
        }
    }

    /// Reads the head of the next request; `None` if the stream has ended.
    pub(super) async fn read_head(&mut self, hosts: Hosts) -> Result<Option<Head>, ReadError> {
        let mut searched = 0;
        loop {
            if let Some(position) = find(&self.buffer[searched..], b"\r\n\r\n") {
                let head = self.buffer.split_to(searched + position + 4);
                return Head::parse(&head, hosts).map(Some);
            }
            if self.buffer.len() >= MAX_HEAD_BYTES {
                return reject(
                    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                    "the head is too long",
                );
            }
            searched = self.buffer.len().saturating_sub(3);
            let between_requests = self.buffer.is_empty();
            if self.fill().await? == 0 {
                return if between_requests {
                    Ok(None)
                } else {
                    Err(ReadError::Disconnected)
                };
            }
        }
    }

    /// Reads the body, of at most `limit` bytes.
    pub(super) async fn read_body(
        &mut self,
        framing: Framing,
        limit: usize,
    ) -> Result<Bytes, ReadError> {
        match framing {
            Framing::None => Ok(Bytes::new()),
            Framing::Length(length) => {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                if length > limit {
                    return reject(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long");
                }
                self.take(length).await
            }
            Framing::Chunked => self.read_chunks(limit).await,
        }
    }

    async fn read_chunks(&mut self, limit: usize) -> Result<Bytes, ReadError> {
        let mut body = BytesMut::new();
        loop {
            let size = chunk_size(&self.line().await?)?;
            if size == 0 {
                break;
            }
            if size > limit - body.len() {
                return reject(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long");
            }
            body.extend_from_slice(&self.take(size).await?);
            if !self.line().await?.is_empty() {
                return reject(StatusCode::BAD_REQUEST, "a chunk is longer than its size");
            }
        }
        for _ in 0..MAX_HEADERS {
            if self.line().await?.is_empty() {
                return Ok(body.freeze());
            }
        }
        reject(StatusCode::BAD_REQUEST, "too many trailers")
    }

    /// The next `length` bytes.
    async fn take(&mut self, length: usize) -> Result<Bytes, ReadError> {
        while self.buffer.len() < length {
            if self.fill().await? == 0 {
                return Err(ReadError::Disconnected);
            }
        }
        Ok(self.buffer.split_to(length).freeze())
    }

    /// The next line, without CRLF.
    async fn line(&mut self) -> Result<Bytes, ReadError> {
        loop {
            if let Some(position) = find(&self.buffer, b"\r\n") {
                let line = self.buffer.split_to(position).freeze();
                self.buffer.advance(2);
                return Ok(line);
            }
            if self.buffer.len() > MAX_LINE_BYTES {
                return reject(StatusCode::BAD_REQUEST, "a line of the body is too long");
            }
            if self.fill().await? == 0 {
                return Err(ReadError::Disconnected);
            }
        }
    }

    async fn fill(&mut self) -> Result<usize, ReadError> {
        self.stream
            .read_buf(&mut self.buffer)
            .await
            .map_err(|_| ReadError::Disconnected)
    }

    /// Sends `100 Continue` to a client that waits for it.
    pub(super) async fn write_continue(&mut self) -> io::Result<()> {
        self.stream
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
            .await?;
        self.stream.flush().await
    }

    /// Writes a response; for HEAD without its body.
    pub(super) async fn write_response(
        &mut self,
        response: &Response<Bytes>,
        head_only: bool,
        last: bool,
    ) -> io::Result<()> {
        let mut text = response_head(response.status(), response.headers());
        text.extend_from_slice(format!("content-length: {}\r\n", response.body().len()).as_bytes());
        if last {
            text.extend_from_slice(b"connection: close\r\n");
        }
        text.extend_from_slice(b"\r\n");
        if !head_only {
            text.extend_from_slice(response.body());
        }
        self.stream.write_all(&text).await?;
        self.stream.flush().await
    }
}

/// The status line and the headers, without the empty line at their end.
pub(super) fn response_head(status: StatusCode, headers: &HeaderMap) -> Vec<u8> {
    let reason = status.canonical_reason().unwrap_or("Status");
    let mut text = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
    for (name, value) in headers {
        if name == CONTENT_LENGTH || name == CONNECTION || name == TRANSFER_ENCODING {
            continue;
        }
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text
}

fn chunk_size(line: &[u8]) -> Result<usize, ReadError> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let digits = digits.trim_ascii_end();
    std::str::from_utf8(digits)
        .ok()
        .filter(|text| (1..=8).contains(&text.len()))
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .and_then(|text| usize::from_str_radix(text, 16).ok())
        .ok_or(ReadError::Rejected(
            StatusCode::BAD_REQUEST,
            "the size of a chunk is not a number",
        ))
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes
        .windows(pattern.len())
        .position(|window| window == pattern)
}

/// Maximum length of the head of a request, in bytes.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Maximum length of a line within a chunked body (sizes, extensions, trailers), in bytes.
const MAX_LINE_BYTES: usize = 4096;
