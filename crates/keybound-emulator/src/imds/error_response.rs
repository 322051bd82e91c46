use crate::call::Call;
use crate::response::{Response, allow, oauth_error};
use http::Method;
use openssl::error::ErrorStack;
use std::io;

/// The error response of IMDS.
#[derive(Debug)]
pub(super) struct ErrorResponse {
    status: u16,
    error: &'static str,
    description: &'static str,
    /// The method of the `Allow` header, for status 405.
    allow: Option<Method>,
}

impl ErrorResponse {
    pub(super) fn new(status: u16, error: &'static str, description: &'static str) -> Self {
        Self {
            status,
            error,
            description,
            allow: None,
        }
    }

    pub(super) fn invalid(description: &'static str) -> Self {
        Self::new(400, "invalid_request", description)
    }

    pub(super) fn method_not_allowed(allowed: Method) -> Self {
        Self {
            allow: Some(allowed),
            ..Self::new(
                405,
                "method_not_allowed",
                "The method is not allowed for this resource",
            )
        }
    }

    pub(super) fn respond(self, call: &mut Call) -> Response {
        call.note("refused", self.description);
        let response = oauth_error(self.status, self.error, self.description);
        match &self.allow {
            Some(method) => allow(response, method),
            None => response,
        }
    }
}

/// OpenSSL could not sign a certificate.
impl From<ErrorStack> for ErrorResponse {
    fn from(_: ErrorStack) -> Self {
        let description = "The certificate could not be signed";
        Self::new(500, "internal_server_error", description)
    }
}

/// A key could not be created.
impl From<io::Error> for ErrorResponse {
    fn from(_: io::Error) -> Self {
        let description = "A key of the emulator could not be created";
        Self::new(500, "internal_server_error", description)
    }
}
