//! TLS by OpenSSL 3, with keys of the provider.
mod classify;
mod close_notify_stream;
mod tls_contexts;

pub use classify::{classify, describe};
pub use close_notify_stream::CloseNotifyStream;
pub use tls_contexts::TlsContexts;
#[cfg(feature = "openssl")]
pub(crate) use tls_contexts::{AllowedVersions, configure_security, present_certificate};

use crate::ConnectionState;
use crate::ffi::with_reason;
use crate::{TransportError, TransportErrorKind};
use openssl::ssl::{Ssl, SslVersion};
use openssl::x509::X509VerifyResult;
use std::pin::Pin;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

/// A TLS client for one connection.
pub struct Session {
    pub(crate) ssl: Ssl,
    state: Arc<ConnectionState>,
}

impl Session {
    /// The state of the connection, as OpenSSL's callbacks see it.
    pub fn state(&self) -> &Arc<ConnectionState> {
        &self.state
    }

    /// Performs the first handshake.
    ///
    /// # Errors
    /// [`Tls`](TransportErrorKind::Tls) if OpenSSL cannot create a stream; for a failed handshake, the result of `failed`.
    pub async fn connect(
        self,
        tcp: TcpStream,
        failed: impl FnOnce(openssl::ssl::Error) -> TransportError,
    ) -> Result<CloseNotifyStream<TcpStream>, TransportError> {
        let mut stream = SslStream::new(self.ssl, tcp).map_err(|errors| {
            let message = with_reason("no tls stream can be created", &errors);
            TransportError::new(TransportErrorKind::Tls, message)
        })?;
        Pin::new(&mut stream).connect().await.map_err(failed)?;
        let verified = stream.ssl().verify_result();
        if verified != X509VerifyResult::OK {
            // The caller checks this state before it sends anything.
            self.state.reject_server(verified.error_string(), None);
        }
        self.state.set_version(match stream.ssl().version2() {
            Some(SslVersion::TLS1_2) => "TLSv1.2",
            Some(SslVersion::TLS1_3) => "TLSv1.3",
            _ => "",
        });
        Ok(CloseNotifyStream::new(stream, self.state))
    }
}
