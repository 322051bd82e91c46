use super::ResponseBody;
use super::body::{Piece, pieces};
use super::worker::Worker;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response};
use keybound_core::{BoxError, Error, ErrorKind, Result, Stage};
use serde::Serialize;
use std::fmt;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

/// A call that is being put together, as [`http::RequestBuilder`](crate::http::RequestBuilder), to be made on a thread of the library. It stays on
/// the thread that began it: the reader that it may hold is not asked to be `Send`.
#[must_use = "a call is made by sending it"]
pub struct RequestBuilder {
    call: crate::http::RequestBuilder,
    reader: Option<Box<dyn Read>>,
    worker: Arc<Worker>,
}

impl RequestBuilder {
    pub(super) fn new(call: crate::http::RequestBuilder, worker: Arc<Worker>) -> Self {
        Self {
            call,
            reader: None,
            worker,
        }
    }

    /// Adds a header. `Authorization` is set by the client, whatever it says here.
    pub fn header<K, V>(self, name: K, value: V) -> Self
    where
        K: TryInto<HeaderName, Error: Into<BoxError>>,
        V: TryInto<HeaderValue, Error: Into<BoxError>>,
    {
        self.map(|call| call.header(name, value))
    }

    /// Sets a body that is at hand. It can be sent again where an answer asks for that.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.reader = None;
        self.map(|call| call.body(body))
    }

    /// Sets a body that is read, by the thread that makes the call, while it is sent; in chunks, and never sent twice. A
    /// reader that does not return holds up the call past its time.
    pub fn read_from(mut self, reader: impl Read + 'static) -> Self {
        self.reader = Some(Box::new(reader));
        self
    }

    /// Sets a body of JSON, with `Content-Type: application/json` unless one is set.
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        self.reader = None;
        self.map(|call| call.json(value))
    }

    /// How long the call may take, until the answer's body is read. Default: what the client is set to.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.map(|call| call.timeout(timeout))
    }

    /// Makes the call and waits for the head of the answer. See
    /// [`http::ResourceClient::send`](crate::http::ResourceClient::send).
    ///
    /// # Errors
    /// The same, [`ErrorKind::InvalidRequest`] where the body could not be read, and [`ErrorKind::HostUnsupported`] where
    /// no thread can be started.
    pub fn send(self) -> Result<Response<ResponseBody>> {
        let Self {
            call,
            reader,
            worker,
        } = self;
        let answer = match reader {
            None => worker.run(Stage::Resource, call.send()),
            Some(reader) => upload(&worker, call, reader),
        };
        Ok(answer?.map(|body| ResponseBody::new(body, worker)))
    }

    fn map(
        mut self,
        change: impl FnOnce(crate::http::RequestBuilder) -> crate::http::RequestBuilder,
    ) -> Self {
        self.call = change(self.call);
        self
    }
}

impl fmt::Debug for RequestBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.call.fmt(f)
    }
}

/// Reads here what is sent there, piece by piece, until all of it is sent or nobody wants more.
fn upload(
    worker: &Worker,
    call: crate::http::RequestBuilder,
    mut reader: Box<dyn Read>,
) -> Result<Response<keybound_tls::ResponseBody>> {
    let (sender, body) = pieces();
    let answer = worker.begin(Stage::Resource, call.stream(body).send())?;
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
