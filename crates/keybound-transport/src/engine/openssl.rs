//! TLS by OpenSSL 3, with the key behind its provider.
mod callbacks;
mod contexts;
mod findings;
mod unbroken;

pub(crate) use callbacks::{on_certificate_request, on_message, on_record, on_verify};
#[cfg(any(feature = "openssl", feature = "rustls"))]
pub(crate) use contexts::not_taken;
#[cfg(feature = "rustls")]
pub(crate) use contexts::{ANCHOR_RULES, set_expected_host};
#[cfg(feature = "openssl")]
pub(crate) use contexts::{Allowed, present, set_rules};
pub(crate) use contexts::{NAME_RULES, TlsContexts};
pub(crate) use findings::{findings_of, first_reason};

use crate::failure::Peer;
use crate::session::SessionNotes;
use crate::{TransportError, TransportErrorKind};
use openssl::ssl::{Ssl, SslVersion};
use openssl::x509::X509VerifyResult;
use std::pin::Pin;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_openssl::SslStream;
use unbroken::Unbroken;

/// A TLS client for one connection.
pub(crate) struct Session {
    pub(crate) ssl: Ssl,
    pub(crate) notes: Arc<SessionNotes>,
}

impl Session {
    /// Does the first handshake.
    pub(crate) async fn connect(
        self,
        tcp: TcpStream,
        peer: &Peer,
    ) -> Result<Unbroken<TcpStream>, TransportError> {
        let mut stream = SslStream::new(self.ssl, tcp).map_err(|error| {
            TransportError::new(TransportErrorKind::Tls, "no tls stream can be made")
                .with_source(error)
        })?;
        Pin::new(&mut stream)
            .connect()
            .await
            .map_err(|error| peer.handshake_failed(error))?;
        let verified = stream.ssl().verify_result();
        if verified != X509VerifyResult::OK {
            self.notes.refuse_server(verified.error_string());
        }
        self.notes.set_version(match stream.ssl().version2() {
            Some(SslVersion::TLS1_2) => "TLSv1.2",
            Some(SslVersion::TLS1_3) => "TLSv1.3",
            _ => "",
        });
        Ok(Unbroken::new(stream, self.notes))
    }
}
