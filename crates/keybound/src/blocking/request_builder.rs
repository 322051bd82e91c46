use super::Response;
use super::upload::upload;
use super::worker::Worker;
use crate::http::{self, HeaderName, HeaderValue};
use bytes::Bytes;
use keybound_core::{BoxError, Result, Stage};
use serde::Serialize;
use std::fmt;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

/// Builds a request, as [`http::RequestBuilder`] does. It is not `Send`, because its reader need not be.
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

    /// Sets a body in memory, which can be sent again if a response requires that.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.reader = None;
        self.map(|request| request.body(body))
    }

    /// Sets a body that the calling thread reads while it is sent, in chunks; it is never sent again. A reader that blocks
    /// delays the call past its timeout.
    pub fn read_from(mut self, reader: impl Read + 'static) -> Self {
        self.reader = Some(Box::new(reader));
        self
    }

    /// Sets a body of JSON, with `Content-Type: application/json` unless the header is set.
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        self.reader = None;
        self.map(|request| request.json(value))
    }

    /// Sets the timeout, which includes reading the body of the response. Default: the client's.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.map(|request| request.timeout(timeout))
    }

    /// Sends the request and waits for the head of the response. See [`http::ResourceClient::send`].
    ///
    /// # Errors
    /// The same, [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) if the body cannot be read, and
    /// [`ErrorKind::HostUnsupported`](crate::ErrorKind::HostUnsupported) if no thread can be started.
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
