use http::uri::{Scheme, Uri};
use http::{Method, Request};
use keybound_core::{Error, ErrorKind, Result, Stage};
use keybound_transport::RequestBody;

/// A validated request, which can be sent again if its body is in memory.
pub(super) struct ReplayableRequest(Request<RequestBody>);

impl ReplayableRequest {
    pub(super) fn new(request: Request<RequestBody>) -> Result<Self> {
        if request.uri().scheme() != Some(&Scheme::HTTPS) {
            return Err(invalid_request("the URL of the request is not https"));
        }
        if *request.method() == Method::CONNECT {
            return Err(invalid_request("CONNECT is not supported"));
        }
        Ok(Self(request))
    }

    pub(super) fn method(&self) -> &Method {
        self.0.method()
    }

    pub(super) fn uri(&self) -> &Uri {
        self.0.uri()
    }

    pub(super) fn set_uri(&mut self, uri: Uri) {
        *self.0.uri_mut() = uri;
    }

    /// Whether the request can be sent (again).
    pub(super) fn can_be_sent(&self) -> bool {
        self.0.body().can_be_sent()
    }

    /// The request to send now. A body that cannot be copied is moved out of it.
    pub(super) fn get_mut(&mut self) -> Result<&mut Request<RequestBody>> {
        if self.can_be_sent() {
            Ok(&mut self.0)
        } else {
            Err(invalid_request(
                "the body of the request was already sent and cannot be sent again",
            ))
        }
    }
}

pub(super) fn invalid_request(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidRequest, Stage::Resource, message)
}
