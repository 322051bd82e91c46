//! A small gRPC service that accepts bound tokens only: its server requests the client certificate in the TLS handshake, and a
//! layer verifies that the token was issued by Entra, for this service, and is bound to that certificate.
//!
//! The messages are plain text, so that no protocol compiler is needed; a real service uses tonic's generated code instead of
//! `codec` and the implementation of `Service`.
mod codec;

pub use codec::{Text, TextCodec};

use crate::{Platform, server_tls};
use keybound_resource::source::ConnectionPeer;
use keybound_resource::tls::{MtlsListener, OpensslServer};
use keybound_resource::tower::MtlsPopLayer;
use keybound_resource::{Caller, Guid};
use std::convert::Infallible;
use std::error::Error;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use tower_service::Service;

/// The resource of its tokens.
pub const RESOURCE: &str = "api://greeter";
/// The path of its only method.
pub const GREET: &str = "/examples.Greeter/Greet";

/// The running service; it stops on drop.
#[derive(Debug)]
pub struct Greeter {
    /// Its URL.
    pub url: String,
    /// The CA certificate for its clients, in PEM.
    pub ca_pem: Vec<u8>,
    task: JoinHandle<()>,
}

impl Greeter {
    /// Starts the service on a free port. It accepts the tokens of one tenant.
    ///
    /// # Errors
    /// If Entra's keys cannot be fetched or no port is free.
    pub async fn start(platform: &Platform, tenant: &Guid) -> Result<Self, Box<dyn Error>> {
        let verifier = platform.verifier(RESOURCE, tenant)?;
        verifier.fetch_due_keys().await;
        if !verifier.has_keys() {
            return Err("Entra's keys cannot be fetched".into());
        }
        let (context, ca_pem) = server_tls::server(b"\x02h2")?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let listener = MtlsListener::new(listener, OpensslServer::new(context)?)?;
        let url = format!("https://localhost:{}", listener.local_addr()?.port());
        let layer = MtlsPopLayer::new(verifier, ConnectionPeer::new()).grpc();
        let server = Server::builder().layer(layer).add_service(Greet);
        let task = tokio::spawn(async move {
            let incoming = keybound_resource::tonic::incoming(listener);
            // An error: a client violated the protocol.
            let _ = server.serve_with_incoming(incoming).await;
        });
        Ok(Self { url, ca_pem, task })
    }
}

impl Drop for Greeter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The service with its only method.
#[derive(Clone)]
struct Greet;

impl NamedService for Greet {
    const NAME: &'static str = "examples.Greeter";
}

impl Service<http::Request<Body>> for Greet {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            if request.uri().path() != GREET {
                return Ok(Status::unimplemented("there is no such method").into_http());
            }
            Ok(Grpc::new(Text::codec()).unary(Self, request).await)
        })
    }
}

impl UnaryService<Text> for Greet {
    type Response = Text;
    type Future = Ready<Result<Response<Text>, Status>>;

    fn call(&mut self, request: Request<Text>) -> Self::Future {
        let caller = request.extensions().get::<Arc<Caller>>();
        ready(match caller {
            Some(caller) => {
                let (name, client) = (&request.get_ref().0, caller.client());
                Ok(Response::new(Text(format!("hello {name}, from {client}"))))
            }
            None => Err(Status::internal(
                "the service is not below a layer that verifies tokens",
            )),
        })
    }
}
