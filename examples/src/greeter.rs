//! A small gRPC service that accepts bound tokens only: it requires the client certificate in the TLS handshake and checks that
//! the token was issued by Entra, for this service, and is bound to that certificate.
//!
//! The messages are plain text, so that no protocol compiler is needed; a real service uses tonic's generated code instead of
//! `codec`.
mod codec;
mod issuer;
mod tls;

pub use codec::{Text, TextCodec};

use crate::Platform;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use issuer::Issuer;
use keybound::{Guid, X5tS256};
use openssl::ssl::{Ssl, SslContext};
use std::convert::Infallible;
use std::error::Error;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_openssl::SslStream;
use tonic::server::{Grpc, UnaryService};
use tonic::{Request, Response, Status};

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
        let issuer = Arc::new(Issuer::discover(platform, tenant).await?);
        let (context, ca_pem) = tls::server()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, context.clone(), Arc::clone(&issuer)));
            }
        });
        Ok(Self {
            url: format!("https://localhost:{port}"),
            ca_pem,
            task,
        })
    }
}

impl Drop for Greeter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves one connection, whose client has proved possession of the certificate's key.
async fn serve(stream: TcpStream, context: SslContext, issuer: Arc<Issuer>) {
    let Some(stream) = handshake(stream, &context).await else {
        return;
    };
    let Some(certificate) = stream.ssl().peer_certificate() else {
        return;
    };
    let Ok(certificate) = certificate.to_der() else {
        return;
    };
    let method = Greet {
        issuer,
        certificate: X5tS256::of_der(&certificate),
    };
    let service = service_fn(move |request| respond(request, method.clone()));
    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn handshake(stream: TcpStream, context: &SslContext) -> Option<SslStream<TcpStream>> {
    let mut stream = SslStream::new(Ssl::new(context).ok()?, stream).ok()?;
    Pin::new(&mut stream).accept().await.ok()?;
    Some(stream)
}

async fn respond(
    request: hyper::Request<Incoming>,
    method: Greet,
) -> Result<hyper::Response<tonic::body::Body>, Infallible> {
    if request.uri().path() != GREET {
        return Ok(Status::unimplemented("there is no such method").into_http());
    }
    Ok(Grpc::new(Text::codec()).unary(method, request).await)
}

/// The method, for one connection.
#[derive(Clone)]
struct Greet {
    issuer: Arc<Issuer>,
    certificate: X5tS256,
}

impl UnaryService<Text> for Greet {
    type Response = Text;
    type Future = Ready<Result<Response<Text>, Status>>;

    fn call(&mut self, request: Request<Text>) -> Self::Future {
        ready(self.greet(&request))
    }
}

impl Greet {
    fn greet(&self, request: &Request<Text>) -> Result<Response<Text>, Status> {
        let authorization = request
            .metadata()
            .get("authorization")
            .and_then(|value| value.to_str().ok());
        let client = self
            .issuer
            .check(authorization, &self.certificate)
            .map_err(Status::unauthenticated)?;
        let name = &request.get_ref().0;
        Ok(Response::new(Text(format!("hello {name}, from {client}"))))
    }
}
