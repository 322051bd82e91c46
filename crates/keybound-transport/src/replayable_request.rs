use crate::RequestBody;
use crate::counting_stream::{TrafficCounters, TrafficSnapshot};
use crate::send_error::SendError;
use http::Request;

/// A copy of a request that is sent on a reused connection, with the connection's counts before.
pub(crate) struct ReplayableRequest {
    request: Box<Request<RequestBody>>,
    before: TrafficSnapshot,
}

/// A request extension that marks a request as idempotent whatever its method (RFC 9110, section 9.2.2): where a reused
/// connection ends without a response, it is retried, as requests of safe methods are.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a marker without content")]
pub struct Idempotent;

/// Whether a request may be sent twice with the effect of one.
pub(crate) fn is_idempotent(request: &Request<RequestBody>) -> bool {
    request.method().is_safe() || request.extensions().get::<Idempotent>().is_some()
}

impl ReplayableRequest {
    /// A copy of the request; `None` where its body is a stream.
    pub(crate) fn of(request: &Request<RequestBody>, counters: &TrafficCounters) -> Option<Self> {
        let body = request.body().try_clone()?;
        let mut copy = Request::new(body);
        copy.method_mut().clone_from(request.method());
        copy.uri_mut().clone_from(request.uri());
        *copy.version_mut() = request.version();
        copy.headers_mut().clone_from(request.headers());
        copy.extensions_mut().clone_from(request.extensions());
        Some(Self {
            request: Box::new(copy),
            before: counters.snapshot(),
        })
    }

    /// Decides whether the request is retried after its connection was closed without a response; `None` where the server may
    /// have acted on it, or a part of a response was read. PUT and DELETE are not retried, though HTTP defines them as
    /// idempotent (RFC 9110, section 9.2.2): Key Vault creates a new version of a secret for each PUT, and returns 404 for a
    /// second DELETE.
    pub(crate) fn decide_retry(self, counters: &TrafficCounters) -> Option<SendError> {
        let now = counters.snapshot();
        if now.read != self.before.read {
            None
        } else if now.written == self.before.written {
            Some(SendError::NotSent(self.request))
        } else {
            is_idempotent(&self.request).then(|| SendError::SafeToRetry(self.request))
        }
    }
}
