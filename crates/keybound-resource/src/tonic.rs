//! tonic's server with client certificates. Its requests have the [`Caller`](crate::Caller) in their extensions, as `Arc<Caller>`, if
//! [`MtlsPopLayer::grpc`](crate::tower::MtlsPopLayer::grpc) is a layer of the server.
use crate::Refusal;
use crate::source::Peer;
use crate::tls::{MtlsListener, MtlsStream};
use crate::tower::grpc_code;
use futures_util::stream::{self, Stream};
use http::header::WWW_AUTHENTICATE;
use std::convert::Infallible;
use tonic::metadata::MetadataMap;
use tonic::transport::server::Connected;
use tonic::{Code, Status};

/// The peer of each request's connection, in its extensions.
impl Connected for MtlsStream {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer().clone()
    }
}

/// The connections of a listener, for `serve_with_incoming`.
pub fn incoming(listener: MtlsListener) -> impl Stream<Item = Result<MtlsStream, Infallible>> {
    stream::unfold(listener, |mut listener| async {
        let stream = listener.accept().await;
        Some((Ok(stream), listener))
    })
}

/// For the rules of a method: see [`Verifier::refusal`](crate::Verifier::refusal). The challenge is in the metadata `www-authenticate`, as in the
/// refusals of the layer.
impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let mut metadata = MetadataMap::new();
        // A challenge is printable ASCII.
        let challenge = refusal.challenge().and_then(|text| text.parse().ok());
        if let Some(challenge) = challenge {
            metadata.insert(WWW_AUTHENTICATE.as_str(), challenge);
        }
        let code = Code::from_i32(grpc_code(&refusal).into());
        Self::with_metadata(code, refusal.reason().description(), metadata)
    }
}
