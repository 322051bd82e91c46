use super::replayable_request::invalid_request;
use super::{ResourceClient, Response};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request};
use http_body::Body;
use keybound_core::{BoxError, Error, Result};
use keybound_transport::RequestBody;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// Builds a request. A malformed URL, header or body is an error of [`send`](Self::send), before anything is sent.
#[must_use = "a request has no effect until it is sent"]
pub struct RequestBuilder {
    client: ResourceClient,
    request: Result<Request<RequestBody>>,
}

/// The timeout of a request instead of the client's, in the extensions of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "one value that needs a type")]
pub struct RequestTimeout(pub Duration);

impl RequestBuilder {
    pub(super) fn new(client: ResourceClient, method: Method, url: &str) -> Self {
        let request = Request::builder().method(method).uri(url);
        let request = request.body(RequestBody::empty()).map_err(malformed);
        Self { client, request }
    }

    /// Adds a header. The client replaces `Authorization`.
    pub fn header<K, V>(mut self, name: K, value: V) -> Self
    where
        K: TryInto<HeaderName, Error: Into<BoxError>>,
        V: TryInto<HeaderValue, Error: Into<BoxError>>,
    {
        self.change(|request| {
            let name = name.try_into().map_err(malformed)?;
            let value = value.try_into().map_err(malformed)?;
            request.headers_mut().append(name, value);
            Ok(())
        });
        self
    }

    /// Sets a body in memory, which can be sent again if a response requires that.
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        self.with_body(RequestBody::full(body))
    }

    /// Sets a body that is produced while it is sent; it is never sent again. See [`RequestBody::stream`].
    pub fn stream<B>(self, body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.with_body(RequestBody::from_body(body))
    }

    /// Sets a body of JSON, with `Content-Type: application/json` unless the header is set.
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        self.change(|request| {
            // An error of serde may contain the value.
            let text = serde_json::to_vec(value).map_err(|_| {
                invalid_request("the body of the request cannot be serialized as JSON")
            })?;
            *request.body_mut() = RequestBody::full(text);
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().entry(CONTENT_TYPE).or_insert(json);
            Ok(())
        });
        self
    }

    /// Sets the timeout, which includes reading the body of the response. Default: the client's.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.change(|request| {
            request.extensions_mut().insert(RequestTimeout(timeout));
            Ok(())
        });
        self
    }

    /// Sends the request. See [`ResourceClient::send`].
    ///
    /// # Errors
    /// The same, and [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) if the URL, a header or the JSON value is
    /// invalid.
    pub async fn send(self) -> Result<Response> {
        self.client.send(self.request?).await
    }

    fn with_body(mut self, body: RequestBody) -> Self {
        self.request = self.request.map(|request| request.map(|_| body));
        self
    }

    fn change(&mut self, change: impl FnOnce(&mut Request<RequestBody>) -> Result<()>) {
        if let Ok(request) = &mut self.request
            && let Err(error) = change(request)
        {
            self.request = Err(error);
        }
    }
}

impl fmt::Debug for RequestBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let request = self.request.as_ref().ok();
        f.debug_struct("RequestBuilder")
            .field("method", &request.map(Request::method))
            .field("host", &request.and_then(|request| request.uri().host()))
            .finish_non_exhaustive()
    }
}

fn malformed(error: impl Into<BoxError>) -> Error {
    invalid_request("the URL or a header of the request is malformed").with_source(error)
}
