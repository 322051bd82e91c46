use super::{ResourceClient, Response};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request, Uri};
use http_body::Body;
use keybound_core::{BoxError, Error, ErrorKind, Result, Stage};
use keybound_transport::RequestBody;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// A request that is being built. What is malformed is an error of [`send`](Self::send), before a byte is sent.
#[must_use = "a request has no effect until it is sent"]
pub struct RequestBuilder {
    client: ResourceClient,
    request: Result<Request<RequestBody>>,
}

/// In the extensions of a request: its timeout, instead of the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "one value that needs a type")]
pub struct RequestTimeout(pub Duration);

impl RequestBuilder {
    pub(super) fn new(client: ResourceClient, method: Method, url: &str) -> Self {
        let request = url.parse().map_err(malformed).map(|uri: Uri| {
            let mut request = Request::new(RequestBody::empty());
            *request.method_mut() = method;
            *request.uri_mut() = uri;
            request
        });
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

    /// Sets a body that is in memory. It can be sent again where a response requires that.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.change(|request| {
            *request.body_mut() = RequestBody::full(body);
            Ok(())
        });
        self
    }

    /// Sets a body that is produced while it is sent; it is never sent twice. See [`RequestBody::stream`].
    pub fn stream<B>(mut self, body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.change(|request| {
            *request.body_mut() = RequestBody::from_body(body);
            Ok(())
        });
        self
    }

    /// Sets a body of JSON, with `Content-Type: application/json` unless one is set.
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        self.change(|request| {
            // What serde says of the value may repeat it.
            let text = serde_json::to_vec(value).map_err(|_| not_json())?;
            *request.body_mut() = RequestBody::full(text);
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().entry(CONTENT_TYPE).or_insert(json);
            Ok(())
        });
        self
    }

    /// The timeout, until the body of the response is read. Default: the client's.
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
    /// The same; [`ErrorKind::InvalidRequest`] where the URL, a header or the JSON cannot be sent.
    pub async fn send(self) -> Result<Response> {
        self.client.send(self.request?).await
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
    let message = "the url or a header of the request is malformed";
    Error::new(ErrorKind::InvalidRequest, Stage::Resource, message).with_source(error)
}

fn not_json() -> Error {
    let message = "the body of the request cannot be written as JSON";
    Error::new(ErrorKind::InvalidRequest, Stage::Resource, message)
}
