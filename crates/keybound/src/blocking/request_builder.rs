use super::Response;
use super::response_body::{Piece, pieces};
use super::worker::Worker;
use crate::http::{self, HeaderName, HeaderValue};
use bytes::Bytes;
use keybound_core::{BoxError, Error, ErrorKind, Result, Stage};
use serde::Serialize;
use std::fmt;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

/// A request that is being built, as [`http::RequestBuilder`], and is sent by a thread of the library. It stays on the thread
/// that created it: the reader that it may hold need not be `Send`.
#[must_use = "a request has no effect until it is sent"]
pub struct RequestBuilder {
    request: http::RequestBuilder,
    reader: Option<Box<dyn Read>>,
    worker: Arc<Worker>,
}

impl RequestBuilder {
    pub(super) fn new(request: http::RequestBuilder, worker: Arc<Worker>) -> Self {
        Self {
            request,
            reader: None,
            worker,
        }
    }

    /// Adds a header. The client replaces `Authorization`.
    pub fn header<K, V>(self, name: K, value: V) -> Self
    where
        K: TryInto<HeaderName, Error: Into<BoxError>>,
        V: TryInto<HeaderValue, Error: Into<BoxError>>,
    {
        self.map(|request| request.header(name, value))
    }

    /// Sets a body that is in memory. It can be sent again where a response requires that.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.reader = None;
        self.map(|request| request.body(body))
    }

    /// Sets a body that the calling thread reads while it is sent; in chunks, and never sent twice. A reader that does not
    /// return delays the call past its timeout.
    pub fn read_from(mut self, reader: impl Read + 'static) -> Self {
        self.reader = Some(Box::new(reader));
        self
    }

    /// Sets a body of JSON, with `Content-Type: application/json` unless one is set.
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        self.reader = None;
        self.map(|request| request.json(value))
    }

    /// The timeout, until the body of the response is read. Default: the client's.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.map(|request| request.timeout(timeout))
    }

    /// Sends the request and waits for the head of the response. See [`http::ResourceClient::send`].
    ///
    /// # Errors
    /// The same, [`ErrorKind::InvalidRequest`] where the body could not be read, and [`ErrorKind::HostUnsupported`] where
    /// no thread can be started.
    pub fn send(self) -> Result<Response> {
        let Self {
            request,
            reader,
            worker,
        } = self;
        let response = match reader {
            None => worker.run(Stage::Resource, request.send()),
            Some(reader) => upload(&worker, request, reader),
        }?;
        Ok(Response::new(response, worker))
    }

    fn map(mut self, change: impl FnOnce(http::RequestBuilder) -> http::RequestBuilder) -> Self {
        self.request = change(self.request);
        self
    }
}

impl fmt::Debug for RequestBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.request.fmt(f)
    }
}

/// Reads here what is sent there, piece by piece, until all of it is sent or nobody wants more.
fn upload(
    worker: &Worker,
    request: http::RequestBuilder,
    mut reader: Box<dyn Read>,
) -> Result<http::Response> {
    let (sender, body) = pieces();
    let answer = worker.begin(Stage::Resource, request.stream(body).send())?;
    loop {
        let mut piece = vec![0; PIECE];
        let next = match reader.read(&mut piece) {
            Ok(0) => Piece::End,
            Ok(length) => {
                piece.truncate(length);
                Piece::Data(Bytes::from(piece))
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => Piece::Failed(error),
        };
        let more = matches!(next, Piece::Data(_));
        let sender = sender.clone();
        let taken = worker.run(Stage::Resource, async move {
            sender.send(next).await.map_err(|_| not_wanted())
        });
        if !more || taken.is_err() {
            break;
        }
    }
    drop(sender);
    answer.wait()
}

fn not_wanted() -> Error {
    let message = "the resource answered before the body was over";
    Error::new(ErrorKind::InvalidRequest, Stage::Resource, message)
}

/// So much of a body is read at a time, in bytes.
const PIECE: usize = 64 * 1024;
