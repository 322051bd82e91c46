//! The stream with OpenSSL on both sides: it renegotiates, and closes as it should.
use super::*;
use crate::TlsEngine;
use crate::engine::queued::{QueuedStream, Wire, is_refusal, receive, send};
use keybound_core::tls::ConnectionState;
use keybound_openssl::server::request_client_certificate;
use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{
    HandshakeError, Ssl, SslContext, SslContextBuilder, SslMethod, SslOptions, SslSessionCacheMode,
    SslStream, SslVerifyMode, SslVersion,
};
use openssl::x509::{X509, X509Name};
use std::io::{Read, Write};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use tokio::io::{DuplexStream, duplex};

type Server = tokio_openssl::SslStream<DuplexStream>;
type Client = QueuedStream<SslStream<Wire>, DuplexStream>;

#[tokio::test]
async fn a_renegotiation_asks_for_the_certificate_and_the_exchange_goes_on() {
    let same = context(&leaf("a"));
    let (mut client, mut server, state) = connected(&same, &same).await;
    let serve = async {
        assert_eq!(line(&mut server).await, "asks\n");
        request_client_certificate(&mut server).await.unwrap();
        let shown = server.ssl().peer_certificate().unwrap();
        server.write_all(b"answer\n").await.unwrap();
        assert_eq!(line(&mut server).await, "again\n");
        server.shutdown().await.unwrap();
        common_name(&shown)
    };
    let call = async {
        client.write_all(b"asks\n").await.unwrap();
        assert_eq!(line(&mut client).await, "answer\n");
        client.write_all(b"again\n").await.unwrap();
        // The end, as TLS tells it.
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    };
    let (shown, ()) = tokio::join!(serve, call);
    assert_eq!(shown, "client");
    assert!(client.tls.wire().has_renegotiated());
    assert!(state.certificate_requested() && !state.server_changed());
}

#[tokio::test]
async fn a_server_that_becomes_another_in_a_renegotiation_is_neither_read_nor_written_to() {
    let (first, second) = (context(&leaf("a")), context(&leaf("b")));
    let (mut client, mut server, state) = connected(&first, &second).await;
    let serve = async {
        assert_eq!(line(&mut server).await, "asks\n");
        // To the other server the handshake may be over; it hears nothing after it.
        if request_client_certificate(&mut server).await.is_ok() {
            let _ = server.write_all(b"answer\n").await;
        }
        let mut heard = vec![];
        let _ = server.read_to_end(&mut heard).await;
        heard
    };
    let call = async {
        client.write_all(b"asks\n").await.unwrap();
        let error = client.read(&mut [0; 10]).await.unwrap_err();
        assert!(is_refusal(error.get_ref().unwrap()), "{error:?}");
        assert!(client.write_all(b"secret\n").await.is_err());
        assert!(client.read(&mut [0; 10]).await.is_err());
        drop(client);
    };
    let (heard, ()) = tokio::join!(serve, call);
    assert_eq!(heard, b"");
    assert!(state.server_changed());
}

#[tokio::test]
async fn large_bodies_cross_narrow_connections_both_ways() {
    let same = context(&leaf("a"));
    let (mut client, mut server, _) = connected(&same, &same).await;
    let body: Vec<u8> = (0..300_000_usize).map(|at| (at % 251) as u8).collect();
    let serve = async {
        let mut heard = vec![0; body.len()];
        server.read_exact(&mut heard).await.unwrap();
        server.write_all(&heard).await.unwrap();
        server.shutdown().await.unwrap();
    };
    let call = async {
        client.write_all(&body).await.unwrap();
        client.flush().await.unwrap();
        let mut heard = vec![];
        client.read_to_end(&mut heard).await.unwrap();
        assert!(heard == body);
    };
    tokio::join!(serve, call);
}

#[tokio::test]
async fn an_end_of_the_connection_is_no_end_of_tls() {
    let same = context(&leaf("a"));
    let (mut client, server, _) = connected(&same, &same).await;
    drop(server);
    let error = client.read(&mut [0; 10]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn closing_says_so_to_the_server() {
    let same = context(&leaf("a"));
    let (mut client, mut server, _) = connected(&same, &same).await;
    client.shutdown().await.unwrap();
    let mut heard = vec![];
    server.get_mut().read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard.first(), Some(&ALERT));
}

#[test]
fn a_peer_that_does_not_read_the_answers_is_not_read_either() {
    let state = Arc::new(ConnectionState::new(TlsEngine::SChannel, true));
    let (near, far) = duplex(PIPE);
    let (mut client, mut far) = (
        QueuedStream::new(Chatterer(Wire::new(state)), near),
        pin!(far),
    );
    let cx = &mut Context::from_waker(Waker::noop());
    let mut record = [0; PIPE];
    // Data of the application; the rest of the record is as long as this says.
    record[..5].copy_from_slice(&[23, 3, 3, 3, 227]);
    let mut taken = 0;
    loop {
        let mut buffer = [0];
        let read = Pin::new(&mut client).poll_read(cx, &mut ReadBuf::new(&mut buffer));
        assert!(read.is_pending());
        match far.as_mut().poll_write(cx, &record) {
            Poll::Ready(written) => taken += written.unwrap(),
            Poll::Pending => break,
        }
        assert!(taken < 1 << 20, "it is read on and on");
    }
    assert!(client.tls.0.to_send().len() < 1 << 18);
}

/// Answers each piece with as much, and is never done.
struct Chatterer(Wire);

impl Tls for Chatterer {
    fn wire(&self) -> &Wire {
        &self.0
    }

    fn wire_mut(&mut self) -> &mut Wire {
        &mut self.0
    }

    fn server_certificate(&self) -> Option<Vec<u8>> {
        None
    }

    fn close(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Chatterer {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        let mut bytes = [0; PIPE];
        loop {
            let length = self.0.read(&mut bytes)?;
            self.0.write_all(&bytes[..length])?;
        }
    }
}

impl Write for Chatterer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Tls for SslStream<Wire> {
    fn wire(&self) -> &Wire {
        self.get_ref()
    }

    fn wire_mut(&mut self) -> &mut Wire {
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

/// A client, and a server that shows the certificate of the one context first and that of the other from then on.
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
    let shown = client.tls.server_certificate().unwrap();
    assert!(state.on_server_certificate(&shown));
    assert!(!client.tls.wire().has_renegotiated() && !state.certificate_requested());
    (client, server, state)
}

async fn connect(mut connection: DuplexStream, state: Arc<ConnectionState>) -> Client {
    let mut ssl = Ssl::new(&context(&leaf("client"))).unwrap();
    ssl.set_hostname("localhost").unwrap();
    let mut progress = ssl.connect(Wire::new(state));
    let mut tls = loop {
        match progress {
            Ok(tls) => break tls,
            Err(HandshakeError::WouldBlock(mut handshake)) => {
                let wire = handshake.get_mut();
                send(&mut connection, wire).await.unwrap();
                receive(&mut connection, wire).await.unwrap();
                progress = handshake.handshake();
            }
            Err(_) => panic!("no handshake"),
        }
    };
    send(&mut connection, tls.get_mut()).await.unwrap();
    QueuedStream::new(tls, connection)
}

/// The name that the client asks for is heard in each handshake; there the server becomes another.
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

fn context((certificate, key): &(X509, PKey<Private>)) -> SslContext {
    let mut builder = SslContext::builder(SslMethod::tls()).unwrap();
    set_up(&mut builder);
    builder.set_certificate(certificate).unwrap();
    builder.set_private_key(key).unwrap();
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
    // Nobody asks in the first handshake; what is shown later is taken.
    builder.set_verify_callback(SslVerifyMode::NONE, |_, _| true);
}

/// A certificate that signs itself.
fn leaf(name: &str) -> (X509, PKey<Private>) {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut subject = X509Name::builder().unwrap();
    subject.append_entry_by_nid(Nid::COMMONNAME, name).unwrap();
    let subject = subject.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(&subject).unwrap();
    builder.set_pubkey(&key).unwrap();
    let day = |days| Asn1Time::days_from_now(days).unwrap();
    builder.set_not_before(&day(0)).unwrap();
    builder.set_not_after(&day(1)).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    (builder.build(), key)
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

/// How much is on its way at a time, in bytes: less than a message.
const PIPE: usize = 1000;
/// The content type of the record that holds `close_notify` (RFC 5246, 6.2.1).
const ALERT: u8 = 21;
