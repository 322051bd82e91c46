//! SChannel over ciphertext buffers.
use crate::engine::buffered::{BufferedTlsStream, CiphertextBuffers, SyncTls, receive, send};
use ::schannel::RawPointer as _;
use ::schannel::cert_context::CertContext;
use ::schannel::schannel_cred::SchannelCred;
use ::schannel::tls_stream::{Builder, HandshakeError, TlsStream};
use keybound_core::tls::ConnectionState;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// Performs the first handshake.
pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    mut builder: Builder,
    credential: SchannelCred,
    mut connection: S,
    state: Arc<ConnectionState>,
) -> io::Result<BufferedTlsStream<TlsStream<CiphertextBuffers>, S>> {
    let mut progress = builder.connect(credential, CiphertextBuffers::new(Arc::clone(&state)));
    let mut tls = loop {
        match progress {
            Ok(tls) => break tls,
            Err(HandshakeError::Failure(error)) => return Err(error),
            Err(HandshakeError::Interrupted(mut handshake)) => {
                let buffers = handshake.get_mut();
                send(&mut connection, buffers).await?;
                receive(&mut connection, buffers).await?;
                progress = handshake.handshake();
            }
        }
    };
    state.on_first_handshake();
    // In TLS 1.3 the request is encrypted; a presented certificate implies it.
    if state.version() == "TLSv1.3" && has_presented(&tls) {
        state.on_certificate_request();
    }
    let buffers = tls.get_mut();
    send(&mut connection, buffers).await?;
    buffers.report_empty_as_end();
    Ok(BufferedTlsStream::new(tls, connection))
}

impl SyncTls for TlsStream<CiphertextBuffers> {
    fn buffers(&self) -> &CiphertextBuffers {
        self.get_ref()
    }

    fn buffers_mut(&mut self) -> &mut CiphertextBuffers {
        self.get_mut()
    }

    fn server_certificate(&self) -> Option<Vec<u8>> {
        existing(self.peer_certificate()).map(|certificate| certificate.to_der().to_vec())
    }

    fn close(&mut self) -> io::Result<()> {
        self.shutdown()
    }
}

/// Whether the client certificate was presented: a certificate that is only available is not part of the connection.
fn has_presented(tls: &TlsStream<CiphertextBuffers>) -> bool {
    existing(tls.certificate()).is_some()
}

/// The certificate, if its pointer is not null: Windows may succeed without one.
#[allow(unsafe_code, reason = "checks a pointer for null")]
fn existing(certificate: io::Result<CertContext>) -> Option<CertContext> {
    certificate.ok().filter(|certificate| {
        // SAFETY: the pointer is compared, not dereferenced.
        !unsafe { certificate.as_ptr() }.is_null()
    })
}
