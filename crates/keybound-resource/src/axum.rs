//! Extractors of axum for handlers below a [`MtlsPopLayer`](crate::tower::MtlsPopLayer), and its server with client certificates.
use crate::source::Peer;
use crate::tls::{MtlsListener, MtlsStream};
use crate::{Caller, Reason};
use axum::extract::FromRequestParts;
use axum::extract::connect_info::Connected;
use axum::response::{IntoResponse, Response};
use axum::serve::{IncomingStream, Listener};
use http::StatusCode;
use http::request::Parts;
use std::marker::PhantomData;
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

/// A role, as a type, for [`RequireRole`].
pub trait Role {
    /// Its value in the claim `roles`.
    const NAME: &'static str;
}

/// The caller of a request, if it has a role. A request without the role is refused with status 403.
///
/// ```
/// use keybound_resource::axum::{RequireRole, Role};
///
/// struct ReadOrders;
///
/// impl Role for ReadOrders {
///     const NAME: &'static str = "Orders.Read.All";
/// }
///
/// async fn orders(caller: RequireRole<ReadOrders>) -> String {
///     format!("orders of {}", caller.client())
/// }
/// ```
#[derive(Debug)]
pub struct RequireRole<R>(Authenticated, PhantomData<R>);

impl<R> Deref for RequireRole<R> {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.0
    }
}

impl<S: Send + Sync, R: Role> FromRequestParts<S> for RequireRole<R> {
    type Rejection = ExtractError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ExtractError> {
        let caller = Authenticated::from_request_parts(parts, state).await?;
        if !caller.has_role(R::NAME) {
            return Err(ExtractError::RoleMissing);
        }
        Ok(Self(caller, PhantomData))
    }
}

/// Why there is no caller for a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// The handler is not below a [`MtlsPopLayer`](crate::tower::MtlsPopLayer).
    #[error("the handler is not below a layer that verifies tokens")]
    NoLayer,
    /// The caller lacks the role.
    #[error("the token lacks a required role")]
    RoleMissing,
}

impl IntoResponse for ExtractError {
    fn into_response(self) -> Response {
        match self {
            Self::NoLayer => {
                tracing::error!("{self}");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
            Self::RoleMissing => {
                let mut response = StatusCode::FORBIDDEN.into_response();
                response.extensions_mut().insert(Reason::RoleMissing);
                response
            }
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
