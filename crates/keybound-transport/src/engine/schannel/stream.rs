//! SChannel over a wire.
use crate::engine::queued::{QueuedStream, Tls, Wire, receive, send};
use ::schannel::RawPointer as _;
use ::schannel::cert_context::CertContext;
use ::schannel::schannel_cred::SchannelCred;
use ::schannel::tls_stream::{Builder, HandshakeError, TlsStream};
use keybound_core::tls::ConnectionState;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// Does the first handshake.
pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    mut builder: Builder,
    credential: SchannelCred,
    mut connection: S,
    state: Arc<ConnectionState>,
) -> io::Result<QueuedStream<TlsStream<Wire>, S>> {
    let mut progress = builder.connect(credential, Wire::new(Arc::clone(&state)));
    let mut tls = loop {
        match progress {
            Ok(tls) => break tls,
            Err(HandshakeError::Failure(error)) => return Err(error),
            Err(HandshakeError::Interrupted(mut handshake)) => {
                let wire = handshake.get_mut();
                send(&mut connection, wire).await?;
                receive(&mut connection, wire).await?;
                progress = handshake.handshake();
            }
        }
    };
    state.on_first_handshake();
    // There the request is encrypted, but what was presented can be asked for.
    if state.version() == "TLSv1.3" && has_presented(&tls) {
        state.on_certificate_request();
    }
    let wire = tls.get_mut();
    send(&mut connection, wire).await?;
    wire.report_empty_as_end();
    Ok(QueuedStream::new(tls, connection))
}

impl Tls for TlsStream<Wire> {
    fn wire(&self) -> &Wire {
        self.get_ref()
    }

    fn wire_mut(&mut self) -> &mut Wire {
        self.get_mut()
    }

    fn server_certificate(&self) -> Option<Vec<u8>> {
        existing(self.peer_certificate()).map(|shown| shown.to_der().to_vec())
    }

    fn close(&mut self) -> io::Result<()> {
        self.shutdown()
    }
}

/// Whether our certificate has gone out: a certificate that was only at hand is not the connection's.
fn has_presented(tls: &TlsStream<Wire>) -> bool {
    existing(tls.certificate()).is_some()
}

/// The certificate, where there is one: Windows may succeed without.
#[allow(unsafe_code, reason = "asks whether there is a pointer")]
fn existing(certificate: io::Result<CertContext>) -> Option<CertContext> {
    certificate.ok().filter(|certificate| {
        // SAFETY: the pointer is compared, not followed.
        !unsafe { certificate.as_ptr() }.is_null()
    })
}
