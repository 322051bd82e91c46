use crate::faults::Action;
use bytes::Bytes;
use std::collections::BTreeMap;

/// The client, as known from the connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// The certificate that the peer presented, DER. The handshake proved possession of its key; nothing else is checked.
    pub client_certificate: Option<Vec<u8>>,
    /// `TLSv1.2` or `TLSv1.3`; `None` on plain HTTP.
    pub tls_version: Option<&'static str>,
}

/// A request to a service, with its whole body, which the listener bounds.
pub(crate) struct Call {
    pub request: http::Request<Bytes>,
    pub peer: Peer,
    /// The fault for this request, if the service applies it. Faults that replace the whole response do not reach the
    /// service.
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
}
