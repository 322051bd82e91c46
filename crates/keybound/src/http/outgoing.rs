//! A request that may have to be sent more than once.
use http::uri::{Scheme, Uri};
use http::{Method, Request, request};
use keybound_core::{Error, ErrorKind, Result, Stage};
use keybound_transport::RequestBody;

/// What the caller gave, checked.
pub(super) struct Outgoing {
    head: request::Parts,
    /// Gone once it was sent and is not at hand.
    body: Option<RequestBody>,
}

impl Outgoing {
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

    /// Whether there is still a body to send.
    pub(super) fn can_be_sent(&self) -> bool {
        self.body.is_some()
    }

    /// The request, to be sent now.
    pub(super) fn request(&mut self) -> Result<Request<RequestBody>> {
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
