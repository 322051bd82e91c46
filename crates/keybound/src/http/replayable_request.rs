use http::uri::{Scheme, Uri};
use http::{Method, Request, request};
use keybound_core::{Error, ErrorKind, Result, Stage};
use keybound_transport::RequestBody;

/// A checked request, which is sent again where its body is in memory.
pub(super) struct ReplayableRequest {
    head: request::Parts,
    /// `None` once a body that is not in memory was sent.
    body: Option<RequestBody>,
}

impl ReplayableRequest {
    pub(super) fn new(request: Request<RequestBody>) -> Result<Self> {
        let (head, body) = request.into_parts();
        if head.uri.scheme() != Some(&Scheme::HTTPS) {
            return Err(refused("the request is not for an https address"));
        }
        if head.method == Method::CONNECT {
            return Err(refused("a request cannot ask for a tunnel"));
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
        let body = self
            .body
            .take()
            .ok_or_else(|| refused("the body of the request has been sent already"))?;
        self.body = body.try_clone();
        Ok(Request::from_parts(self.head.clone(), body))
    }
}

fn refused(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidRequest, Stage::Resource, message)
}
