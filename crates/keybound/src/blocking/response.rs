use super::ResponseBody;
use super::worker::Worker;
use crate::AccessToken;
use crate::http::ConnectionInfo;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use keybound_core::{Result, Stage};
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;

/// A response of a resource. See [`http::Response`](crate::http::Response).
pub struct Response {
    response: crate::http::Response,
    worker: Arc<Worker>,
}

impl Response {
    pub(super) fn new(response: crate::http::Response, worker: Arc<Worker>) -> Self {
        Self { response, worker }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// The token that the request was sent with.
    pub fn token(&self) -> &AccessToken {
        self.response.token()
    }

    /// The connection of the response; `None` only for a response that was created in memory.
    pub fn connection(&self) -> Option<&ConnectionInfo> {
        self.response.connection()
    }

    /// Returns the response, or an error if its status is 400 or above. See
    /// [`http::Response::error_for_status`](crate::http::Response::error_for_status).
    ///
    /// # Errors
    /// The same.
    pub fn error_for_status(self) -> Result<Self> {
        let Self { response, worker } = self;
        let response = worker.run(Stage::Resource, response.error_for_status())?;
        Ok(Self::new(response, worker))
    }

    /// Reads the body to its end, at most 1 MiB.
    ///
    /// # Errors
    /// Those of [`bytes_limited`](Self::bytes_limited).
    pub fn bytes(self) -> Result<Bytes> {
        self.worker.run(Stage::Resource, self.response.bytes())
    }

    /// Reads the body to its end, at most `limit` bytes.
    ///
    /// # Errors
    /// Those of [`http::ResponseBody::bytes_limited`](crate::http::ResponseBody::bytes_limited).
    pub fn bytes_limited(self, limit: usize) -> Result<Bytes> {
        let read = self.response.bytes_limited(limit);
        self.worker.run(Stage::Resource, read)
    }

    /// Reads the body to its end, at most 1 MiB, as text. See [`http::ResponseBody::text`](crate::http::ResponseBody::text).
    ///
    /// # Errors
    /// Those of [`bytes_limited`](Self::bytes_limited).
    pub fn text(self) -> Result<String> {
        self.worker.run(Stage::Resource, self.response.text())
    }

    /// Reads the body to its end, at most 1 MiB, as JSON.
    ///
    /// # Errors
    /// Those of [`json_limited`](Self::json_limited).
    pub fn json<T: DeserializeOwned>(self) -> Result<T> {
        self.into_body().json()
    }

    /// Reads the body to its end, at most `limit` bytes, as JSON.
    ///
    /// # Errors
    /// Those of [`http::ResponseBody::json_limited`](crate::http::ResponseBody::json_limited).
    pub fn json_limited<T: DeserializeOwned>(self, limit: usize) -> Result<T> {
        self.into_body().json_limited(limit)
    }

    /// The body alone, which implements [`Read`](std::io::Read).
    pub fn into_body(self) -> ResponseBody {
        ResponseBody::new(self.response.into_body(), self.worker)
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.response.fmt(f)
    }
}
