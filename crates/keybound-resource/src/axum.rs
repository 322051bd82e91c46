//! Extractors of axum for handlers below a [`MtlsPopLayer`](crate::tower::MtlsPopLayer), and its server with client certificates.
mod require;

use crate::source::{Peer, PeerAddress};
use crate::tls::{MtlsListener, MtlsStream};
use crate::tower::http_response;
use crate::{Caller, Refusal};
use axum::extract::connect_info::Connected;
use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::response::{IntoResponse, Response};
use axum::serve::{IncomingStream, Listener};
use http::StatusCode;
use http::request::Parts;
pub use require::{RequireRole, RequireScope, Role, Scope};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

/// The caller of a request, as argument of a handler. Without the layer, every request is refused with status 500.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "handlers destructure it")]
pub struct Authenticated(pub Arc<Caller>);

impl Deref for Authenticated {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.0
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Authenticated {
    type Rejection = ExtractError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ExtractError> {
        let caller = parts.extensions.get::<Arc<Caller>>();
        caller.cloned().map(Self).ok_or(ExtractError::NoLayer)
    }
}

/// `None` for a handler that is not below the layer too.
impl<S: Send + Sync> OptionalFromRequestParts<S> for Authenticated {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        let caller = parts.extensions.get::<Arc<Caller>>();
        Ok(caller.cloned().map(Self))
    }
}

/// Why there is no caller for a handler.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// The handler is not below a [`MtlsPopLayer`](crate::tower::MtlsPopLayer).
    #[error("the handler is not below a layer that verifies tokens")]
    NoLayer,
    /// The caller lacks what the handler requires.
    #[error(transparent)]
    Refused(Refusal),
}

impl IntoResponse for ExtractError {
    fn into_response(self) -> Response {
        match self {
            Self::NoLayer => {
                tracing::error!("{self}");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
            Self::Refused(refusal) => http_response(&refusal),
        }
    }
}

impl Listener for MtlsListener {
    type Io = MtlsStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (MtlsStream, SocketAddr) {
        let stream = self.accept().await;
        let address = stream.address();
        (stream, address)
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.local_addr()
    }
}

/// For `into_make_service_with_connect_info::<Peer>()`.
impl Connected<IncomingStream<'_, MtlsListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, MtlsListener>) -> Self {
        stream.io().peer().clone()
    }
}

/// For a server behind a proxy that ends TLS.
impl Connected<IncomingStream<'_, tokio::net::TcpListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, tokio::net::TcpListener>) -> Self {
        Self::new(PeerAddress::Tcp(*stream.remote_addr()))
    }
}

/// For a server behind a proxy that ends TLS.
#[cfg(unix)]
impl Connected<IncomingStream<'_, tokio::net::UnixListener>> for Peer {
    fn connect_info(_: IncomingStream<'_, tokio::net::UnixListener>) -> Self {
        Self::new(PeerAddress::UnixSocket)
    }
}
