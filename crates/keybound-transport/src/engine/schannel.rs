//! TLS by SChannel, the one of Windows: a client credential for each binding, streams, and what its errors mean.
//!
//! The `schannel` crate does the handshakes, the first and every later one, and has Windows judge the server in the first;
//! in later ones the stream sees to it that it stays the same.
mod classify;
mod credentials;
mod judgement;
mod stream;

pub(crate) use classify::classify;
pub(crate) use credentials::{Credentials, Unfit};

use crate::TransportError;
use crate::engine::queued::{QueuedStream, Wire, refused};
use crate::failure::Peer;
use ::schannel::schannel_cred::SchannelCred;
use ::schannel::tls_stream::{Builder, CertValidationResult, TlsStream};
use keybound_core::tls::{ConnectionState, Host};
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;

/// A TLS client for one connection.
pub(crate) struct Session {
    credential: SchannelCred,
    host: Host,
    state: Arc<ConnectionState>,
}

impl Session {
    pub(crate) fn state(&self) -> &Arc<ConnectionState> {
        &self.state
    }

    /// Does the first handshake.
    pub(crate) async fn connect(
        self,
        tcp: TcpStream,
        peer: &Peer,
    ) -> Result<QueuedStream<TlsStream<Wire>, TcpStream>, TransportError> {
        let builder = self.builder();
        stream::connect(builder, self.credential, tcp, self.state)
            .await
            .map_err(|error| peer.handshake_failed(error))
    }

    fn builder(&self) -> Builder {
        let mut builder = Builder::new();
        match &self.host {
            Host::Name(name) => builder.domain(name),
            // The name that a client asks for is never an address (RFC 6066, 3); it is verified all the same.
            Host::Ip(ip) => builder.domain(&ip.to_string()).use_sni(false),
        };
        let (state, host) = (Arc::clone(&self.state), self.host.clone());
        builder
            .request_application_protocols(&[b"http/1.1"])
            .verify_callback(move |verdict| judge(&state, &host, &verdict));
        builder
    }
}

/// Has Windows judge the server's certificate, and holds the server to who it was. In a later handshake this comes before the
/// server has shown anything, and sees the certificate of before.
///
/// The judgement that the crate brings is made first. It counts, unless it says only that nothing is known of revocation:
/// it says that in place of what else may be wrong.
fn judge(state: &ConnectionState, host: &Host, verdict: &CertValidationResult) -> io::Result<()> {
    let refuse = |error: io::Error| {
        state.reject_server(classify::reason(&error));
        error
    };
    // Each message after a handshake of TLS 1.3 calls for a judgement.
    state.on_handshake_message(false).map_err(refused)?;
    if let Err(error) = verdict.result()
        && !classify::is_unknown_revocation(&error)
    {
        return Err(refuse(error));
    }
    let shown = verdict
        .chain()
        .ok_or_else(|| refuse(refused("the server showed no certificate")))?;
    judgement::judge(&shown, host).map_err(refuse)?;
    let own = shown.get(0);
    if own.is_some_and(|certificate| state.on_server_certificate(certificate.to_der())) {
        Ok(())
    } else {
        Err(refused("the server showed another certificate"))
    }
}
