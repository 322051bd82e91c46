use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use keybound_core::{Error, Result, Stage, strip_bom};
use serde::de::DeserializeOwned;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The body of a response, read on demand and within the deadline of the request. After the body is read to its end, its
/// connection returns to the pool; a body that is dropped earlier closes the connection.
pub struct ResponseBody(pub(crate) keybound_transport::ResponseBody);

impl ResponseBody {
    /// A body that is in memory, for tests that replace a resource.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self(keybound_transport::ResponseBody::full(bytes))
    }

    /// Returns the first `limit` bytes, or all of a shorter or interrupted body, without consuming them. The connection is not
    /// reused until the body is read to its end.
    pub async fn peek(&mut self, limit: usize) -> Bytes {
        self.0.peek(limit).await
    }

    /// Reads the body to its end, at most 1 MiB.
    ///
    /// # Errors
    /// Those of [`bytes_limited`](Self::bytes_limited).
    pub async fn bytes(self) -> Result<Bytes> {
        self.bytes_limited(DEFAULT_LIMIT).await
    }

    /// Reads the body to its end, at most `limit` bytes.
    ///
    /// # Errors
    /// Of stage resource: [`ErrorKind::ResponseTooLarge`](crate::ErrorKind::ResponseTooLarge) if it is longer (the connection
    /// is closed), [`ErrorKind::DeadlineExceeded`](crate::ErrorKind::DeadlineExceeded), and those of a connection that breaks.
    pub async fn bytes_limited(self, limit: usize) -> Result<Bytes> {
        self.0.collect(limit).await.map_err(failed)
    }

    /// Reads the body to its end, at most 1 MiB, as text: UTF-8 without its byte order mark; a malformed sequence becomes
    /// U+FFFD.
    ///
    /// # Errors
    /// Those of [`bytes_limited`](Self::bytes_limited).
    pub async fn text(self) -> Result<String> {
        let bytes = self.bytes().await?;
        Ok(String::from_utf8_lossy(strip_bom(&bytes)).into_owned())
    }

    /// Reads the body to its end, at most 1 MiB, as JSON.
    ///
    /// # Errors
    /// Those of [`json_limited`](Self::json_limited).
    pub async fn json<T: DeserializeOwned>(self) -> Result<T> {
        self.json_limited(DEFAULT_LIMIT).await
    }

    /// Reads the body to its end, at most `limit` bytes, as JSON.
    ///
    /// # Errors
    /// Those of [`bytes_limited`](Self::bytes_limited), and
    /// [`ErrorKind::InvalidResponse`](crate::ErrorKind::InvalidResponse) if it is not JSON of the type `T`. No error
    /// contains the body.
    pub async fn json_limited<T: DeserializeOwned>(self, limit: usize) -> Result<T> {
        from_json(&self.bytes_limited(limit).await?)
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>>>> {
        let polled = Pin::new(&mut self.0).poll_frame(cx);
        polled.map(|frame| frame.map(|frame| frame.map_err(failed)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn failed(error: keybound_transport::TransportError) -> Error {
    error.at(Stage::Resource)
}

/// Parses JSON. An error contains the position only: the text may be a secret.
pub(crate) fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(strip_bom(body)).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let message =
            format!("the response is not the expected JSON (line {line}, column {column})");
        Error::invalid_response(Stage::Resource, message)
    })
}

/// In bytes: enough for any response of a control plane.
pub(crate) const DEFAULT_LIMIT: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use keybound_core::ErrorKind;
    use std::error::Error as _;

    #[tokio::test]
    async fn reads_bodies_within_their_limits() {
        let body = || ResponseBody::full(r#"{"a":1}"#);
        let read: serde_json::Value = body().json_limited(7).await.unwrap();
        assert_eq!(read["a"], 1);
        let error = body().json_limited::<serde_json::Value>(6).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::ResponseTooLarge);

        let long = || ResponseBody::full(vec![b' '; DEFAULT_LIMIT + 1]);
        let errors = [
            long().bytes().await.unwrap_err(),
            long().text().await.unwrap_err(),
            long().json::<()>().await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::ResponseTooLarge);
        }
        let read = long().bytes_limited(DEFAULT_LIMIT + 1).await.unwrap();
        assert_eq!(read.len(), DEFAULT_LIMIT + 1);
    }

    #[tokio::test]
    async fn ignores_a_byte_order_mark() {
        let body = || ResponseBody::full("\u{feff}{\"a\":1}");
        let read: serde_json::Value = body().json().await.unwrap();
        assert_eq!(read["a"], 1);
        assert_eq!(body().text().await.unwrap(), "{\"a\":1}");
    }

    #[tokio::test]
    async fn secrets_stay_secret_in_json_errors() {
        let body = ResponseBody::full(r#"{"value":"swordfish"}"#);
        let error = body
            .json::<std::collections::HashMap<String, u32>>()
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.stage()),
            (ErrorKind::InvalidResponse, Stage::Resource)
        );
        let shown = format!("{error} {error:?} {:?}", error.source());
        assert!(
            shown.contains("column 20") && !shown.contains("swordfish"),
            "{shown}"
        );
    }
}
