//! The stream with OpenSSL on both sides.
use super::*;
use crate::TlsEngine;
use crate::engine::buffered::{BufferedTlsStream, CiphertextBuffers, is_rejection, receive, send};
use keybound_core::tls::ConnectionState;
use keybound_openssl::server::request_client_certificate;
use keybound_testing::Leaf;
use openssl::ssl::{
    HandshakeError, Ssl, SslContext, SslContextBuilder, SslMethod, SslOptions, SslSessionCacheMode,
    SslStream, SslVerifyMode, SslVersion,
};
use openssl::x509::X509;
use std::io::{Read, Write};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use tokio::io::{DuplexStream, duplex};

type Server = tokio_openssl::SslStream<DuplexStream>;
type Client = BufferedTlsStream<SslStream<CiphertextBuffers>, DuplexStream>;

#[tokio::test]
async fn presents_the_certificate_in_a_renegotiation() {
    let same = context(&Leaf::self_signed("a"));
    let (mut client, mut server, state) = connected(&same, &same).await;
    let serve = async {
        assert_eq!(line(&mut server).await, "request\n");
        request_client_certificate(&mut server).await.unwrap();
        let certificate = server.ssl().peer_certificate().unwrap();
        server.write_all(b"response\n").await.unwrap();
        assert_eq!(line(&mut server).await, "again\n");
        server.shutdown().await.unwrap();
        common_name(&certificate)
    };
    let call = async {
        client.write_all(b"request\n").await.unwrap();
        assert_eq!(line(&mut client).await, "response\n");
        client.write_all(b"again\n").await.unwrap();
        // The end by close_notify.
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    };
    let (certificate, ()) = tokio::join!(serve, call);
    assert_eq!(certificate, "client");
    assert!(client.tls.buffers().has_renegotiated());
    assert!(state.certificate_requested() && !state.server_changed());
}

#[tokio::test]
async fn rejects_another_server_certificate_in_a_renegotiation() {
    let (first, second) = (
        context(&Leaf::self_signed("a")),
        context(&Leaf::self_signed("b")),
    );
    let (mut client, mut server, state) = connected(&first, &second).await;
    let serve = async {
        assert_eq!(line(&mut server).await, "request\n");
        // For the server the handshake may be complete; it receives nothing after it.
        if request_client_certificate(&mut server).await.is_ok() {
            let _ = server.write_all(b"response\n").await;
        }
        let mut received = vec![];
        let _ = server.read_to_end(&mut received).await;
        received
    };
    let call = async {
        client.write_all(b"request\n").await.unwrap();
        let error = client.read(&mut [0; 10]).await.unwrap_err();
        assert!(is_rejection(error.get_ref().unwrap()), "{error:?}");
        assert!(client.write_all(b"secret\n").await.is_err());
        assert!(client.read(&mut [0; 10]).await.is_err());
        drop(client);
    };
    let (received, ()) = tokio::join!(serve, call);
    assert_eq!(received, b"");
    assert!(state.server_changed());
}

#[tokio::test]
async fn transfers_large_bodies_over_narrow_connections() {
    let same = context(&Leaf::self_signed("a"));
    let (mut client, mut server, _) = connected(&same, &same).await;
    let body: Vec<u8> = (0..300_000_usize).map(|at| (at % 251) as u8).collect();
    let serve = async {
        let mut received = vec![0; body.len()];
        server.read_exact(&mut received).await.unwrap();
        server.write_all(&received).await.unwrap();
        server.shutdown().await.unwrap();
    };
    let call = async {
        client.write_all(&body).await.unwrap();
        client.flush().await.unwrap();
        let mut received = vec![];
        client.read_to_end(&mut received).await.unwrap();
        assert!(received == body);
    };
    tokio::join!(serve, call);
}

#[tokio::test]
async fn end_without_close_notify_is_an_error() {
    let same = context(&Leaf::self_signed("a"));
    let (mut client, server, _) = connected(&same, &same).await;
    drop(server);
    let error = client.read(&mut [0; 10]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn shutdown_sends_close_notify() {
    let same = context(&Leaf::self_signed("a"));
    let (mut client, mut server, _) = connected(&same, &same).await;
    client.shutdown().await.unwrap();
    let mut received = vec![];
    server.get_mut().read_to_end(&mut received).await.unwrap();
    assert_eq!(received.first(), Some(&ALERT));
}

#[test]
fn does_not_read_from_a_peer_that_does_not_read_responses() {
    let state = Arc::new(ConnectionState::new(TlsEngine::SChannel, true));
    let (near, far) = duplex(PIPE);
    let (mut client, mut far) = (
        BufferedTlsStream::new(EchoTls(CiphertextBuffers::new(state)), near),
        pin!(far),
    );
    let cx = &mut Context::from_waker(Waker::noop());
    let mut record = [0; PIPE];
    // The header of a record of application data that fills the rest of the buffer.
    record[..5].copy_from_slice(&[23, 3, 3, 3, 227]);
    let mut sent = 0;
    loop {
        let mut buffer = [0];
        let read = Pin::new(&mut client).poll_read(cx, &mut ReadBuf::new(&mut buffer));
        assert!(read.is_pending());
        match far.as_mut().poll_write(cx, &record) {
            Poll::Ready(written) => sent += written.unwrap(),
            Poll::Pending => break,
        }
        assert!(sent < 1 << 20, "the peer is still read");
    }
    assert!(client.tls.0.to_send().len() < 1 << 18);
}

/// Writes as much as it reads, and never completes a read.
struct EchoTls(CiphertextBuffers);

impl SyncTls for EchoTls {
    fn buffers(&self) -> &CiphertextBuffers {
        &self.0
    }

    fn buffers_mut(&mut self) -> &mut CiphertextBuffers {
        &mut self.0
    }

    fn server_certificate(&self) -> Option<Vec<u8>> {
        None
    }

    fn close(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for EchoTls {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        let mut bytes = [0; PIPE];
        loop {
            let length = self.0.read(&mut bytes)?;
            self.0.write_all(&bytes[..length])?;
        }
    }
}

impl Write for EchoTls {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SyncTls for SslStream<CiphertextBuffers> {
    fn buffers(&self) -> &CiphertextBuffers {
        self.get_ref()
    }

    fn buffers_mut(&mut self) -> &mut CiphertextBuffers {
        self.get_mut()
    }

    fn server_certificate(&self) -> Option<Vec<u8>> {
        let certificate = self.ssl().peer_certificate()?;
        Some(certificate.to_der().unwrap())
    }

    fn close(&mut self) -> io::Result<()> {
        self.shutdown().map_err(io::Error::other).map(drop)
    }
}

/// A client, and a server that presents the certificate of the first context in the first handshake and that of the other later.
async fn connected(
    first: &SslContext,
    later: &SslContext,
) -> (Client, Server, Arc<ConnectionState>) {
    let (near, far) = duplex(PIPE);
    let state = Arc::new(ConnectionState::new(TlsEngine::SChannel, true));
    let mut server = tokio_openssl::SslStream::new(server_ssl(first, later), far).unwrap();
    let (client, accepted) = tokio::join!(
        connect(near, Arc::clone(&state)),
        Pin::new(&mut server).accept()
    );
    accepted.unwrap();
    let certificate = client.tls.server_certificate().unwrap();
    assert!(state.on_server_certificate(&certificate));
    assert!(!client.tls.buffers().has_renegotiated() && !state.certificate_requested());
    (client, server, state)
}

async fn connect(mut connection: DuplexStream, state: Arc<ConnectionState>) -> Client {
    let mut ssl = Ssl::new(&context(&Leaf::self_signed("client"))).unwrap();
    ssl.set_hostname("localhost").unwrap();
    let mut progress = ssl.connect(CiphertextBuffers::new(state));
    let mut tls = loop {
        match progress {
            Ok(tls) => break tls,
            Err(HandshakeError::WouldBlock(mut handshake)) => {
                let buffers = handshake.get_mut();
                send(&mut connection, buffers).await.unwrap();
                receive(&mut connection, buffers).await.unwrap();
                progress = handshake.handshake();
            }
            Err(_) => panic!("the handshake failed"),
        }
    };
    send(&mut connection, tls.get_mut()).await.unwrap();
    BufferedTlsStream::new(tls, connection)
}

/// A server that changes its certificate in the callback for the server name, which runs in each handshake.
fn server_ssl(first: &SslContext, later: &SslContext) -> Ssl {
    let mut builder = SslContext::builder(SslMethod::tls_server()).unwrap();
    set_up(&mut builder);
    let contexts = [first.clone(), later.clone()];
    let handshakes = AtomicUsize::new(0);
    builder.set_servername_callback(move |ssl, _| {
        let handshake = handshakes.fetch_add(1, Ordering::Relaxed).min(1);
        ssl.set_ssl_context(&contexts[handshake]).unwrap();
        Ok(())
    });
    Ssl::new(&builder.build()).unwrap()
}

fn context(leaf: &Leaf) -> SslContext {
    let mut builder = SslContext::builder(SslMethod::tls()).unwrap();
    set_up(&mut builder);
    builder.set_certificate(&leaf.certificate).unwrap();
    builder.set_private_key(&leaf.key).unwrap();
    builder.build()
}

fn set_up(builder: &mut SslContextBuilder) {
    let tls12 = Some(SslVersion::TLS1_2);
    builder.set_min_proto_version(tls12).unwrap();
    builder.set_max_proto_version(tls12).unwrap();
    builder.set_session_id_context(b"test").unwrap();
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    builder.set_options(SslOptions::NO_TICKET);
    builder.clear_options(SslOptions::NO_RENEGOTIATION);
    // Requests no certificate in the first handshake, and accepts any later.
    builder.set_verify_callback(SslVerifyMode::NONE, |_, _| true);
}

async fn line(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut line = vec![];
    while line.last() != Some(&b'\n') {
        line.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(line).unwrap()
}

fn common_name(certificate: &X509) -> String {
    let name = certificate.subject_name().entries().next().unwrap();
    name.data().to_string().unwrap()
}

/// The capacity of the connection in bytes: less than a message.
const PIPE: usize = 1000;
/// The content type of the record that holds `close_notify` (RFC 5246, 6.2.1).
const ALERT: u8 = 21;
