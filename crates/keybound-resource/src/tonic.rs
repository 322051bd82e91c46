//! tonic's server with client certificates. Its requests have the [`Caller`](crate::Caller) in their extensions, as `Arc<Caller>`, if
//! [`MtlsPopLayer::grpc`](crate::tower::MtlsPopLayer::grpc) is a layer of the server.
use crate::source::Peer;
use crate::tls::{MtlsListener, MtlsStream};
use futures_util::stream::{self, Stream};
use std::convert::Infallible;
use tonic::transport::server::Connected;

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
