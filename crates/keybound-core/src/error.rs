mod kind;
mod stage;

pub use kind::ErrorKind;
pub use stage::Stage;

use crate::ServiceError;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The source of an error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;
/// A result with Keybound's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The error of a call: its kind, the stage at which it occurred, and the next step.
///
/// `Display` describes the failure without its cause, which is the [`source()`](std::error::Error::source). Neither contains
/// a secret.
///
/// Cloning is cheap: callers that share an attempt share its error.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    stage: Stage,
    message: Cow<'static, str>,
    status: Option<u16>,
    service: Option<ServiceError>,
    retryable: bool,
    deadline_exceeded: bool,
    next_step: Option<&'static str>,
    source: Option<Arc<dyn std::error::Error + Send + Sync + 'static>>,
}

impl Error {
    /// Creates an error. The message is lower-case, without a full stop.
    pub fn new(kind: ErrorKind, stage: Stage, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Inner {
            kind,
            stage,
            message: message.into(),
            status: None,
            service: None,
            retryable: kind.is_transient(),
            deadline_exceeded: false,
            next_step: None,
            source: None,
        }))
    }

    /// An error for an invalid request of the caller.
    pub fn invalid_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidRequest, Stage::Request, message)
    }

    /// An error for a response that violates the protocol.
    pub fn invalid_response(stage: Stage, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidResponse, stage, message)
    }

    /// Sets the stage.
    #[must_use]
    pub fn with_stage(mut self, stage: Stage) -> Self {
        self.inner().stage = stage;
        self
    }

    /// Adds the HTTP status of the response.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.inner().status = Some(status);
        self
    }

    /// Adds the error of the service's response.
    #[must_use]
    pub fn with_service(mut self, service: Option<ServiceError>) -> Self {
        self.inner().service = service;
        self
    }

    /// Sets whether a retry can help.
    #[must_use]
    pub fn with_retryable(mut self, retryable: bool) -> Self {
        self.inner().retryable = retryable;
        self
    }

    /// Marks that the caller's deadline passed before the retries ended.
    #[must_use]
    pub fn with_deadline_exceeded(mut self) -> Self {
        self.inner().deadline_exceeded = true;
        self
    }

    /// Sets a more specific next step than that of the kind: lower-case, without a full stop.
    #[must_use]
    pub fn with_next_step(mut self, next_step: &'static str) -> Self {
        self.inner().next_step = Some(next_step);
        self
    }

    /// Adds the source.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.inner().source = Some(source.into().into());
        self
    }

    fn inner(&mut self) -> &mut Inner {
        Arc::make_mut(&mut self.0)
    }

    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The stage that failed.
    pub fn stage(&self) -> Stage {
        self.0.stage
    }

    /// The HTTP status of the response, if there was one.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// The error of the service's response, if it described one.
    pub fn service(&self) -> Option<&ServiceError> {
        self.0.service.as_ref()
    }

    /// Whether a later retry of the same call can help. The request may have been processed: if a resource's response was not
    /// received (kinds `InvalidResponse` and `DeadlineExceeded` at stage resource), retry a POST or PATCH only if processing
    /// it twice is harmless.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// Whether the caller's deadline passed before the retries ended; the error is otherwise that of the last attempt.
    pub fn deadline_exceeded(&self) -> bool {
        self.0.deadline_exceeded || self.0.kind == ErrorKind::DeadlineExceeded
    }

    /// The next step, in one sentence.
    pub fn next_step(&self) -> &'static str {
        let has_no_reason = self.0.kind == ErrorKind::Refused && self.0.service.is_none();
        self.0.next_step.unwrap_or(if has_no_reason {
            "the service gave no readable reason: check the request, the permissions of the identity, and which service \
             responds at this address"
        } else {
            self.0.kind.next_step()
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if let Some(status) = self.0.status {
            write!(f, " (HTTP {status})")?;
        }
        if let Some(service) = &self.0.service {
            if let Some(error) = &service.error {
                write!(f, ": {error}")?;
            }
            if let Some(description) = &service.description {
                write!(f, ": {description}")?;
            }
        }
        if self.0.deadline_exceeded {
            f.write_str(" (deadline reached before the retries ended)")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("stage", &self.0.stage)
            .field("message", &self.0.message)
            .field("status", &self.0.status)
            .field("service", &self.0.service)
            .field("retryable", &self.0.retryable)
            .field("deadline_exceeded", &self.0.deadline_exceeded)
            .field("source", &self.0.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| &**source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn flags_default_to_those_of_the_kind() {
        let error = Error::new(
            ErrorKind::ServiceUnavailable,
            Stage::Metadata,
            "imds failed",
        );
        assert!(error.is_retryable() && !error.deadline_exceeded());
        let error = error.with_retryable(false).with_deadline_exceeded();
        assert!(!error.is_retryable() && error.deadline_exceeded());
        assert_eq!(
            error.to_string(),
            "imds failed (deadline reached before the retries ended)"
        );
        let specific = Error::new(ErrorKind::KeyFailed, Stage::Key, "x").with_next_step("do that");
        assert_eq!(specific.next_step(), "do that");
        let late = Error::new(ErrorKind::DeadlineExceeded, Stage::Token, "x");
        assert!(late.deadline_exceeded() && late.is_retryable());
        assert_eq!(Error::invalid_request("x").stage(), Stage::Request);
        assert_eq!(Error::imds_v2_unavailable().status(), Some(404));
        assert!(
            Error::imds_v2_unavailable()
                .next_step()
                .contains("Trusted Launch")
        );
    }

    #[test]
    fn next_step_mentions_service_error_only_if_present() {
        let refused = Error::new(ErrorKind::Refused, Stage::Metadata, "x").with_status(400);
        assert!(refused.next_step().contains("no readable reason"));
        let service = ServiceError::parse(br#"{"error":"invalid_scope"}"#);
        let described = refused.clone().with_service(service);
        assert_eq!(described.next_step(), ErrorKind::Refused.next_step());
        assert_eq!(refused.with_next_step("do that").next_step(), "do that");
    }

    #[test]
    fn display_has_status_and_service_error_but_not_source() {
        let error = Error::new(ErrorKind::Refused, Stage::Token, "token request refused")
            .with_status(400)
            .with_service(ServiceError::parse(
                br#"{"error":"invalid_scope","error_description":"x"}"#,
            ))
            .with_source(std::io::Error::other("cause"));
        assert_eq!(
            error.to_string(),
            "token request refused (HTTP 400): invalid_scope: x"
        );
        assert_eq!(error.source().unwrap().to_string(), "cause");
        assert_eq!(error.stage().as_str(), "token");
    }
}
