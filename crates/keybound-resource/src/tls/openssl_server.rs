use super::listener::{Encrypted, HandshakeFuture, TlsServer};
use openssl::error::ErrorStack;
use openssl::ssl::{Ssl, SslContext, SslContextBuilder, SslSessionCacheMode, SslVerifyMode};
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

/// TLS by OpenSSL.
pub struct OpensslServer(SslContext);

impl OpensslServer {
    /// A server with a context that [requests client certificates](request_any_client_certificate).
    ///
    /// # Errors
    /// If it requests none: all requests would be refused.
    pub fn new(context: SslContext) -> Result<Self, NoCertificateRequest> {
        match context.verify_mode().contains(SslVerifyMode::PEER) {
            true => Ok(Self(context)),
            false => Err(NoCertificateRequest(())),
        }
    }
}

/// A TLS server would not request the client's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the TLS context does not request client certificates")]
pub struct NoCertificateRequest(());

impl TlsServer for OpensslServer {
    fn handshake(self: Arc<Self>, stream: TcpStream) -> HandshakeFuture {
        Box::pin(async move {
            let ssl = Ssl::new(&self.0).map_err(io::Error::other)?;
            let mut stream = SslStream::new(ssl, stream).map_err(io::Error::other)?;
            let accepted = Pin::new(&mut stream).accept().await;
            accepted.map_err(io::Error::other)?;
            let certificate = stream.ssl().peer_certificate();
            let der = certificate
                .map(|certificate| certificate.to_der())
                .transpose();
            let der = der.map_err(io::Error::other)?;
            Ok((Box::new(stream) as Box<dyn Encrypted>, der))
        })
    }
}

impl fmt::Debug for OpensslServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpensslServer").finish_non_exhaustive()
    }
}

/// Has a context request the client's certificate in the first handshake, and accept any issuer. OpenSSL still verifies that the client has
/// its key. Sessions are not resumed.
///
/// # Errors
/// If OpenSSL fails.
pub fn request_any_client_certificate(context: &mut SslContextBuilder) -> Result<(), ErrorStack> {
    // The callback replaces the result of the verification of the chain, not that of the signature.
    context.set_verify_callback(SslVerifyMode::PEER, |_, _| true);
    context.set_session_cache_mode(SslSessionCacheMode::OFF);
    context.set_num_tickets(0)?;
    context.set_options(openssl::ssl::SslOptions::NO_TICKET);
    context.set_session_id_context(b"keybound")
}
