use crate::TlsEngine;
use keybound_core::tls::ServerCertificate;
use keybound_core::{Certificate, Result};

/// The connection of a response.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// The TLS library, [`OpenSsl`](TlsEngine::OpenSsl) or [`SChannel`](TlsEngine::SChannel).
    pub tls_engine: TlsEngine,
    /// `TLSv1.2` or `TLSv1.3`.
    pub tls_version: &'static str,
    /// Whether the server has requested the client certificate on this connection, up to this response.
    pub certificate_requested: bool,
    /// Whether the connection had carried an earlier request.
    pub reused: bool,
    /// Whether the request was retried after a reused connection ended without a byte of a response. The server may have
    /// received it twice. Idempotent requests only; see [`HttpsClient::send`](crate::HttpsClient::send).
    pub retried: bool,
    pub(crate) server: Option<ServerCertificate>,
}

impl ConnectionInfo {
    /// The certificate of the server, which was verified. Parsed by each call.
    ///
    /// # Errors
    /// [`CertificateMalformed`](keybound_core::ErrorKind::CertificateMalformed) if Keybound cannot read it, though the TLS library
    /// can.
    pub fn server_certificate(&self) -> Option<Result<Certificate>> {
        self.server.as_ref().map(ServerCertificate::parse)
    }
}

/// The connection on which a request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionUse {
    New,
    /// From the pool.
    Reused,
    /// New, after a connection from the pool ended without a response.
    Retried,
}
