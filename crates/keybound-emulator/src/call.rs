use crate::faults::Action;
use crate::peer::Peer;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use keybound_core::Guid;
use std::collections::BTreeMap;

/// A request to a service, with its whole body, which the listener limits.
pub(crate) struct Call {
    pub request: http::Request<Bytes>,
    pub peer: Peer,
    /// The fault of this request, if the service applies it. The service does not see requests whose response a fault replaces.
    pub fault: Option<Action>,
    pub notes: BTreeMap<&'static str, String>,
}

impl Call {
    /// Adds a note to the record of this request. Must not be a secret.
    pub fn note(&mut self, name: &'static str, value: impl Into<String>) {
        self.notes.insert(name, value.into());
    }

    /// A request header, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.request.headers().get(name)?.to_str().ok()
    }

    /// Whether the body has this media type; parameters are ignored.
    pub fn has_content_type(&self, media_type: &str) -> bool {
        let value = self.header(CONTENT_TYPE.as_str()).unwrap_or_default();
        let found = value.split(';').next().unwrap_or_default();
        found.trim().eq_ignore_ascii_case(media_type)
    }

    /// Whether the request has the header that browsers do not send.
    pub fn has_metadata_header(&self) -> bool {
        let metadata = self.header("metadata");
        metadata.is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// Whether the request came through a proxy.
    pub fn is_forwarded(&self) -> bool {
        self.request.headers().contains_key("x-forwarded-for")
    }

    /// The id by which the client finds the request in logs.
    pub fn client_request_id(&self) -> Option<Guid> {
        ["x-ms-client-request-id", "client-request-id"]
            .into_iter()
            .find_map(|name| Guid::parse(self.header(name)?))
    }
}
