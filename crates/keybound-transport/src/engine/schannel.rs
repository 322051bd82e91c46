//! TLS by SChannel: the client's credentials, streams, and the classes of errors.
//!
//! The `schannel` crate performs the handshakes, the first and all later ones, and calls back in the first to verify the server.
//! In later ones the stream checks that the server presents the same certificate.
mod classify;
mod credentials;
mod server_certificate;
mod stream;

pub(crate) use classify::classify;
pub(crate) use credentials::Credentials;

use crate::TransportError;
use crate::engine::buffered::{BufferedTlsStream, CiphertextBuffers, rejected};
use crate::peer::Peer;
use ::schannel::cert_context::CertContext;
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

    /// Performs the first handshake.
    pub(crate) async fn connect(
        self,
        tcp: TcpStream,
        peer: &Peer,
    ) -> Result<BufferedTlsStream<TlsStream<CiphertextBuffers>, TcpStream>, TransportError> {
        let builder = self.builder();
        stream::connect(builder, self.credential, tcp, self.state)
            .await
            .map_err(|error| peer.handshake_failed(error))
    }

    fn builder(&self) -> Builder {
        let mut builder = Builder::new();
        match &self.host {
            Host::Name(name) => builder.domain(name),
            // SNI never contains an address (RFC 6066, section 3); the address is verified all the same.
            Host::Ip(ip) => builder.domain(&ip.to_string()).use_sni(false),
        };
        let (state, host) = (Arc::clone(&self.state), self.host.clone());
        builder
            .request_application_protocols(&[b"http/1.1"])
            .verify_callback(move |result| verify(&state, &host, &result));
        builder
    }
}

/// Verifies the server's certificate with Windows or by the pinned one, and checks that it has not changed. In a later handshake
/// it runs before the server has presented a certificate, and receives the earlier one.
///
/// The result of the schannel crate comes first. It is an error unless it is that the revocation status is unknown, which the
/// crate returns instead of other errors of the certificate.
fn verify(state: &ConnectionState, host: &Host, result: &CertValidationResult) -> io::Result<()> {
    let reject = |error: io::Error| {
        let leaf = result.chain().and_then(|chain| chain.get(0));
        state.reject_server(
            classify::reason(&error),
            leaf.as_ref().map(CertContext::to_der),
        );
        error
    };
    // The crate calls back for each message after a handshake of TLS 1.3.
    state.on_handshake_message(false).map_err(rejected)?;
    let no_certificate = || reject(rejected("the server presented no certificate"));
    if state.is_pinned() {
        let leaf = result.chain().and_then(|chain| chain.get(0));
        let leaf = leaf.ok_or_else(no_certificate)?;
        return verify_pinned(state, &leaf).map_err(reject);
    }
    if let Err(error) = result.result()
        && !classify::is_unknown_revocation(&error)
    {
        return Err(reject(error));
    }
    let chain = result.chain().ok_or_else(no_certificate)?;
    server_certificate::verify(&chain, host).map_err(reject)?;
    let leaf = chain.get(0);
    if leaf.is_some_and(|leaf| state.on_server_certificate(leaf.to_der())) {
        Ok(())
    } else {
        Err(rejected("the server presented another certificate"))
    }
}

/// Accepts exactly the pinned certificate. Its issuers, usage, host name and validity are not checked: the thumbprint names the
/// certificate itself.
fn verify_pinned(state: &ConnectionState, leaf: &CertContext) -> io::Result<()> {
    match state.on_server_certificate(leaf.to_der()) {
        true => Ok(()),
        false => Err(rejected("the server's certificate is not the pinned one")),
    }
}
