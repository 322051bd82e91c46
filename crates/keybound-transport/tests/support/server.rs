//! TLS servers on loopback, run on the test's own runtime.
use super::http::{Received, receive, reply};
use super::pki::{Authority, Leaf};
use keybound_openssl::server::request_client_certificate;
use openssl::dh::Dh;
use openssl::sha::sha256;
use openssl::ssl::{
    Ssl, SslAcceptor, SslContext, SslMethod, SslOptions, SslSessionCacheMode, SslVerifyMode,
    SslVersion,
};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_openssl::SslStream;

pub type Tls = SslStream<TcpStream>;

/// What a server wants of clients in the first handshake.
#[derive(Clone, Copy, PartialEq)]
pub enum Asks {
    Nothing,
    /// Takes what comes, or nothing.
    Politely,
    /// Refuses clients without a certificate of the authority.
    Firmly,
}

/// How a server greets.
#[derive(Clone)]
pub struct Manners {
    pub leaf: Leaf,
    pub version: Option<SslVersion>,
    pub asks: Asks,
    /// Whose clients are trusted.
    pub clients: Authority,
}

impl Manners {
    pub fn context(&self) -> SslContext {
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
        builder.set_certificate(&self.leaf.certificate).unwrap();
        builder.set_private_key(&self.leaf.key).unwrap();
        for authority in &self.leaf.chain {
            builder.add_extra_chain_cert(authority.clone()).unwrap();
        }
        if let Some(version) = self.version {
            builder.set_min_proto_version(Some(version)).unwrap();
            builder.set_max_proto_version(Some(version)).unwrap();
        }
        builder
            .cert_store_mut()
            .add_cert(self.clients.certificate.clone())
            .unwrap();
        // Named in the request for the certificate; clients of another authority must come all the same.
        builder.add_client_ca(&self.clients.certificate).unwrap();
        builder.set_session_id_context(b"test").unwrap();
        builder.set_session_cache_mode(SslSessionCacheMode::OFF);
        builder.set_options(SslOptions::NO_TICKET);
        builder.clear_options(SslOptions::NO_RENEGOTIATION);
        match self.asks {
            Asks::Nothing => builder.set_verify(SslVerifyMode::NONE),
            Asks::Politely => builder.set_verify_callback(SslVerifyMode::PEER, |_, _| true),
            Asks::Firmly => {
                builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
            }
        }
        builder.build().into_context()
    }
}

/// The context of a server that shows no certificate: it has TLS 1.2 with these suites, which are anonymous.
pub fn anonymous(suites: &str) -> SslContext {
    let mut builder = SslContext::builder(SslMethod::tls_server()).unwrap();
    builder
        .set_max_proto_version(Some(SslVersion::TLS1_2))
        .unwrap();
    builder.set_security_level(0);
    builder
        .set_cipher_list(&format!("{suites}:@SECLEVEL=0"))
        .unwrap();
    builder.set_tmp_dh(&Dh::get_2048_256().unwrap()).unwrap();
    builder.build()
}

/// The context of a server that shows no certificate: it has TLS 1.3 and this secret in common with its clients.
pub fn with_shared_secret(secret: &'static [u8]) -> SslContext {
    let mut builder = SslContext::builder(SslMethod::tls_server()).unwrap();
    builder.set_psk_server_callback(move |_, _, room| {
        room[..secret.len()].copy_from_slice(secret);
        Ok(secret.len())
    });
    builder.build()
}

/// A server and what it saw. It ends with the value.
pub struct Server {
    pub address: SocketAddr,
    pub host: String,
    connections: Arc<AtomicUsize>,
    pub requests: Arc<Mutex<Vec<Received>>>,
    task: JoinHandle<()>,
}

impl Server {
    pub fn uri(&self, path: &str) -> String {
        format!("https://{}:{}{path}", self.host, self.address.port())
    }

    /// How many connections it has accepted.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn requests(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A server that runs a script on each raw connection; the script gets the connection's number, from 0.
pub async fn raw<F, R>(script: F) -> Server
where
    F: Fn(TcpStream, usize, Arc<Mutex<Vec<Received>>>) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let requests = Arc::new(Mutex::new(vec![]));
    let (count, log) = (Arc::clone(&connections), Arc::clone(&requests));
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Else the answer waits until the client has acknowledged the session tickets of TLS 1.3.
            stream.set_nodelay(true).unwrap();
            let number = count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(script(stream, number, Arc::clone(&log)));
        }
    });
    Server {
        address,
        host: "localhost".into(),
        connections,
        requests,
        task,
    }
}

/// A server that runs a script on each connection after the TLS handshake.
pub async fn scripted<F, R>(context: SslContext, script: F) -> Server
where
    F: Fn(Tls, usize, Arc<Mutex<Vec<Received>>>) -> R + Clone + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    raw(move |stream, number, log| {
        let (context, script) = (context.clone(), script.clone());
        async move {
            if let Some(stream) = handshake(&context, stream).await {
                script(stream, number, log).await;
            }
        }
    })
    .await
}

pub async fn handshake(context: &SslContext, stream: TcpStream) -> Option<Tls> {
    let mut stream = SslStream::new(Ssl::new(context).unwrap(), stream).unwrap();
    Pin::new(&mut stream).accept().await.ok()?;
    Some(stream)
}

/// Has a server show the certificate of another context from now on.
pub fn switch(stream: &Tls, context: &SslContext) {
    use foreign_types::ForeignTypeRef as _;
    unsafe extern "C" {
        fn SSL_set_SSL_CTX(
            ssl: *mut openssl_sys::SSL,
            context: *mut openssl_sys::SSL_CTX,
        ) -> *mut openssl_sys::SSL_CTX;
    }
    // SAFETY: both are alive; the connection takes its own hold on the context.
    unsafe { SSL_set_SSL_CTX(stream.ssl().as_ptr(), context.as_ptr()) };
}

/// Renegotiates (TLS 1.2) without asking for a certificate. False where the client does not take part.
pub async fn renegotiate(stream: &mut Tls) -> bool {
    use foreign_types::ForeignTypeRef as _;
    unsafe extern "C" {
        fn SSL_renegotiate(ssl: *mut openssl_sys::SSL) -> std::ffi::c_int;
        fn SSL_in_init(ssl: *const openssl_sys::SSL) -> std::ffi::c_int;
    }
    let finished = |stream: &Tls| {
        let mut bytes = [0; 64];
        let length = stream.ssl().peer_finished(&mut bytes);
        bytes[..length].to_vec()
    };
    let before = finished(stream);
    // SAFETY: the connection is alive; nobody else has it.
    assert_eq!(unsafe { SSL_renegotiate(stream.ssl().as_ptr()) }, 1);
    // Sends the request to renegotiate, and only that. Reading does the rest.
    if Pin::new(&mut *stream).do_handshake().await.is_err() {
        return false;
    }
    std::future::poll_fn(|cx| {
        let peeked = Pin::new(&mut *stream).poll_peek(cx, &mut [0]);
        // SAFETY: the connection is alive and is only read.
        let is_over = unsafe { SSL_in_init(stream.ssl().as_ptr()) } == 0;
        match peeked {
            Poll::Ready(Err(_) | Ok(0)) => Poll::Ready(false),
            _ if is_over && finished(stream) != before => Poll::Ready(true),
            _ => Poll::Pending,
        }
    })
    .await
}

/// Changes the server's keys (TLS 1.3). False where the client is gone.
pub async fn update_keys(stream: &mut Tls) -> bool {
    use foreign_types::ForeignTypeRef as _;
    unsafe extern "C" {
        fn SSL_key_update(ssl: *mut openssl_sys::SSL, kind: std::ffi::c_int) -> std::ffi::c_int;
    }
    // SAFETY: the connection is alive; nobody else has it.
    assert_eq!(unsafe { SSL_key_update(stream.ssl().as_ptr(), 0) }, 1);
    Pin::new(stream).do_handshake().await.is_ok()
}

/// A server that answers every request, `length certificate`, the latter `none` or a SHA-256. Paths that start with
/// `/secure` have it ask for the certificate after the request was read; 401 where none comes.
pub async fn resource(context: SslContext) -> Server {
    scripted(context, |mut stream, _, log| async move {
        while let Some(request) = receive(&mut stream).await {
            log.lock().unwrap().push(request.clone());
            let had = stream.ssl().peer_certificate().is_some();
            if request.path().starts_with("/secure")
                && !had
                && request_client_certificate(&mut stream).await.is_err()
            {
                let _ = reply(&mut stream, "403 Forbidden", "cannot ask").await;
                break;
            }
            let certificate = stream
                .ssl()
                .peer_certificate()
                .map(|certificate| hex(&sha256(&certificate.to_der().unwrap())));
            let status = match &certificate {
                None if request.path().starts_with("/secure") => "401 Unauthorized",
                _ => "200 OK",
            };
            let certificate = certificate.as_deref().unwrap_or("none");
            let body = format!("{} {certificate}", request.body);
            if reply(&mut stream, status, &body).await.is_none() {
                break;
            }
        }
        let _ = stream.shutdown().await;
    })
    .await
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
