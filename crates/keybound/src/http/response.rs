use super::error_response::error_of_status;
use super::{ConnectionInfo, ResponseBody};
use crate::AccessToken;
use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, StatusCode};
use keybound_core::{Error, Result};
use serde::de::DeserializeOwned;
use std::fmt;

/// A response of a resource. Status and headers are complete; the body is read on demand, within the timeout of the
/// request.
pub struct Response {
    head: Parts,
    body: ResponseBody,
    token: AccessToken,
}

impl Response {
    pub(crate) fn new(
        response: http::Response<keybound_transport::ResponseBody>,
        token: AccessToken,
    ) -> Self {
        let (head, body) = response.into_parts();
        Self {
            head,
            body: ResponseBody(body),
            token,
        }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.head.status
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// The token that the request was sent with.
    pub fn token(&self) -> &AccessToken {
        &self.token
    }

    /// The connection of the response; `None` only for a response that was created in memory.
    pub fn connection(&self) -> Option<&ConnectionInfo> {
        self.body.0.connection()
    }

    /// Returns the response, or an error if its status is 400 or above.
    ///
    /// # Errors
    /// [`ErrorKind::ServiceUnavailable`](crate::ErrorKind::ServiceUnavailable) for 408, 429 and 5xx,
    /// [`ErrorKind::Refused`](crate::ErrorKind::Refused) for other statuses. Each has the status and the error code and message of
    /// the service, redacted, from the first 64 KiB of the body.
    pub async fn error_for_status(mut self) -> Result<Self> {
        match self.status_error().await {
            Some(error) => Err(error),
            None => Ok(self),
        }
    }

    /// The error of [`error_for_status`](Self::error_for_status); `None` if the status is below 400. The body can be read
    /// afterwards, as a whole.
    pub async fn status_error(&mut self) -> Option<Error> {
        error_of_status(self.head.status, &mut self.body.0).await
    }

    /// Reads the body to its end, at most 1 MiB. See [`ResponseBody::bytes`].
    ///
    /// # Errors
    /// The same.
    pub async fn bytes(self) -> Result<Bytes> {
        self.body.bytes().await
    }

    /// Reads the body to its end, at most `limit` bytes. See [`ResponseBody::bytes_limited`].
    ///
    /// # Errors
    /// The same.
    pub async fn bytes_limited(self, limit: usize) -> Result<Bytes> {
        self.body.bytes_limited(limit).await
    }

    /// Reads the body to its end, at most 1 MiB, as text. See [`ResponseBody::text`].
    ///
    /// # Errors
    /// The same.
    pub async fn text(self) -> Result<String> {
        self.body.text().await
    }

    /// Reads the body to its end, at most 1 MiB, as JSON. See [`ResponseBody::json`].
    ///
    /// # Errors
    /// The same.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T> {
        self.body.json().await
    }

    /// Reads the body to its end, at most `limit` bytes, as JSON. See [`ResponseBody::json_limited`].
    ///
    /// # Errors
    /// The same.
    pub async fn json_limited<T: DeserializeOwned>(self, limit: usize) -> Result<T> {
        self.body.json_limited(limit).await
    }

    /// The body alone.
    pub fn into_body(self) -> ResponseBody {
        self.body
    }

    /// The response as a type of the crate `http`. Its extensions hold the [`AccessToken`] and the [`ConnectionInfo`].
    pub fn into_http(mut self) -> http::Response<ResponseBody> {
        if let Some(connection) = self.body.0.connection() {
            self.head.extensions.insert(connection.clone());
        }
        self.head.extensions.insert(self.token);
        http::Response::from_parts(self.head, self.body)
    }
}

impl From<Response> for http::Response<ResponseBody> {
    fn from(response: Response) -> Self {
        response.into_http()
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.head.status)
            .field("connection", &self.connection())
            .finish_non_exhaustive()
    }
}
