use http::uri::{Scheme, Uri};
use http::{Method, Request, request};
use keybound_core::{Error, ErrorKind, Result, Stage};
use keybound_transport::RequestBody;

/// A validated request, which can be sent again if its body is in memory.
pub(super) struct ReplayableRequest {
    head: request::Parts,
    /// `None` after a streamed body was sent.
    body: Option<RequestBody>,
}

impl ReplayableRequest {
    pub(super) fn new(request: Request<RequestBody>) -> Result<Self> {
        let (head, body) = request.into_parts();
        if head.uri.scheme() != Some(&Scheme::HTTPS) {
            return Err(invalid_request("the URL of the request is not https"));
        }
        if head.method == Method::CONNECT {
            return Err(invalid_request("CONNECT is not supported"));
        }
        Ok(Self {
            head,
            body: Some(body),
        })
    }

    pub(super) fn method(&self) -> &Method {
        &self.head.method
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.head.uri
    }

    pub(super) fn set_uri(&mut self, uri: Uri) {
        self.head.uri = uri;
    }

    /// Whether the request can be sent (again).
    pub(super) fn can_be_sent(&self) -> bool {
        self.body.is_some()
    }

    /// The request to send now.
    pub(super) fn next(&mut self) -> Result<Request<RequestBody>> {
        let body = self.body.take().ok_or_else(|| {
            invalid_request("the body of the request was already sent and cannot be sent again")
        })?;
        self.body = body.try_clone();
        Ok(Request::from_parts(self.head.clone(), body))
    }
}

pub(super) fn invalid_request(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidRequest, Stage::Resource, message)
}
