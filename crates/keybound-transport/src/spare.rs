//! A request kept at hand until it is known whether the connection that it went out on was still there.
use crate::RequestBody;
use crate::metered::{Mark, Traffic};
use http::Request;

/// A copy of a request that was sent on a kept connection, and where the connection's traffic stood before.
pub(crate) struct Spare {
    request: Box<Request<RequestBody>>,
    mark: Mark,
}

/// Put into a request's extensions, says that the request changes nothing at the server, whatever its method: where a kept
/// connection ends under it, it may be sent once more, as those of safe methods are.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "it has nothing to hold")]
pub struct ChangesNothing;

/// Whether doing it twice does no harm.
pub(crate) fn changes_nothing(request: &Request<RequestBody>) -> bool {
    request.method().is_safe() || request.extensions().get::<ChangesNothing>().is_some()
}

/// What may be done with a request after its connection ended without a word.
pub(crate) enum Fate {
    /// None of it was sent: it is as if it had not been tried.
    Untouched(Box<Request<RequestBody>>),
    /// It may have arrived, and doing it twice does no harm.
    Harmless(Box<Request<RequestBody>>),
    /// It may have arrived and have been done, or part of the answer has come.
    Spent,
}

impl Spare {
    /// A copy of the request; none where its body exists once only.
    pub(crate) fn of(request: &Request<RequestBody>, traffic: &Traffic) -> Option<Self> {
        let body = request.body().again()?;
        let mut copy = Request::new(body);
        copy.method_mut().clone_from(request.method());
        copy.uri_mut().clone_from(request.uri());
        *copy.version_mut() = request.version();
        copy.headers_mut().clone_from(request.headers());
        copy.extensions_mut().clone_from(request.extensions());
        Some(Self {
            request: Box::new(copy),
            mark: traffic.mark(),
        })
    }

    /// By RFC 9110 section 9.2.2 and RFC 9112 section 9.3.1. Only safe methods are taken for repeatable, of which PUT and
    /// DELETE are none: Key Vault makes a new version of a secret for each PUT, and a second DELETE is answered 404.
    pub(crate) fn fate(self, traffic: &Traffic) -> Fate {
        if traffic.has_read_since(self.mark) {
            Fate::Spent
        } else if !traffic.has_written_since(self.mark) {
            Fate::Untouched(self.request)
        } else if changes_nothing(&self.request) {
            Fate::Harmless(self.request)
        } else {
            Fate::Spent
        }
    }
}
