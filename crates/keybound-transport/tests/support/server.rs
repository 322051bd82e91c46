//! TLS servers on loopback, on the test's runtime.
use keybound_openssl::server::request_client_certificate;
use keybound_testing::http1::{read_request, write_response};
pub use keybound_testing::server::{Server, Tls, handshake, tcp_server, tls_server};
use keybound_testing::{Authority, Leaf};
use openssl::dh::Dh;
use openssl::sha::sha256;
use openssl::ssl::{
    SslContext, SslMethod, SslOptions, SslSessionCacheMode, SslVerifyMode, SslVersion,
};
use std::pin::Pin;
use std::task::Poll;
use tokio::io::AsyncWriteExt as _;

/// Whether a server requests the client certificate in the first handshake.
#[derive(Clone, Copy, PartialEq)]
pub enum ClientAuth {
    /// Does not request it.
    None,
    /// Requests it, and accepts any or none.
    Optional,
    /// Rejects clients without a certificate of the authority.
    Required,
}

/// The TLS settings of a server.
#[derive(Clone)]
pub struct ServerConfig {
    pub leaf: Leaf,
    pub version: Option<SslVersion>,
    pub client_auth: ClientAuth,
    /// The authority of the clients.
    pub client_ca: Authority,
}

impl ServerConfig {
    pub fn context(&self) -> SslContext {
        let mut builder = self.leaf.acceptor();
        if let Some(version) = self.version {
            builder.set_min_proto_version(Some(version)).unwrap();
            builder.set_max_proto_version(Some(version)).unwrap();
        }
        builder
            .cert_store_mut()
            .add_cert(self.client_ca.certificate().clone())
            .unwrap();
        // Named in the certificate request; clients of another authority present their certificate all the same.
        builder.add_client_ca(self.client_ca.certificate()).unwrap();
        builder.set_session_id_context(b"test").unwrap();
        builder.set_session_cache_mode(SslSessionCacheMode::OFF);
        builder.set_options(SslOptions::NO_TICKET);
        builder.clear_options(SslOptions::NO_RENEGOTIATION);
        match self.client_auth {
            ClientAuth::None => builder.set_verify(SslVerifyMode::NONE),
            ClientAuth::Optional => builder.set_verify_callback(SslVerifyMode::PEER, |_, _| true),
            ClientAuth::Required => {
                builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
            }
        }
        builder.build().into_context()
    }
}

/// The context of a server without a certificate: TLS 1.2 with these anonymous suites.
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

/// The context of a server without a certificate: TLS 1.3 with this pre-shared key.
pub fn with_shared_secret(secret: &'static [u8]) -> SslContext {
    let mut builder = SslContext::builder(SslMethod::tls_server()).unwrap();
    builder.set_psk_server_callback(move |_, _, buffer| {
        buffer[..secret.len()].copy_from_slice(secret);
        Ok(secret.len())
    });
    builder.build()
}

/// Makes a server present the certificate of another context from now on.
pub fn switch_context(stream: &Tls, context: &SslContext) {
    use foreign_types::ForeignTypeRef as _;
    unsafe extern "C" {
        fn SSL_set_SSL_CTX(
            ssl: *mut openssl_sys::SSL,
            context: *mut openssl_sys::SSL_CTX,
        ) -> *mut openssl_sys::SSL_CTX;
    }
    // SAFETY: both are alive; the connection takes its own reference to the context.
    unsafe { SSL_set_SSL_CTX(stream.ssl().as_ptr(), context.as_ptr()) };
}

/// Renegotiates (TLS 1.2) without requesting a certificate. False where the client does not take part.
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
    // SAFETY: the connection is alive and exclusively borrowed.
    assert_eq!(unsafe { SSL_renegotiate(stream.ssl().as_ptr()) }, 1);
    // Sends only the HelloRequest; reading performs the handshake.
    if Pin::new(&mut *stream).do_handshake().await.is_err() {
        return false;
    }
    std::future::poll_fn(|cx| {
        let peeked = Pin::new(&mut *stream).poll_peek(cx, &mut [0]);
        // SAFETY: the connection is alive and is only read.
        let is_complete = unsafe { SSL_in_init(stream.ssl().as_ptr()) } == 0;
        match peeked {
            Poll::Ready(Err(_) | Ok(0)) => Poll::Ready(false),
            _ if is_complete && finished(stream) != before => Poll::Ready(true),
            _ => Poll::Pending,
        }
    })
    .await
}

/// Updates the server's keys (TLS 1.3). False where the connection is closed.
pub async fn update_keys(stream: &mut Tls) -> bool {
    use foreign_types::ForeignTypeRef as _;
    unsafe extern "C" {
        fn SSL_key_update(ssl: *mut openssl_sys::SSL, kind: std::ffi::c_int) -> std::ffi::c_int;
    }
    // SAFETY: the connection is alive and exclusively borrowed.
    assert_eq!(unsafe { SSL_key_update(stream.ssl().as_ptr(), 0) }, 1);
    Pin::new(stream).do_handshake().await.is_ok()
}

/// A server that returns `length certificate` for each request: the length of the body, and `none` or the SHA-256 of the client
/// certificate. For paths that begin with `/secure` it requests the certificate after the request, and returns 401 without one.
pub async fn resource_server(context: SslContext) -> Server {
    tls_server(context, |mut stream, _, log| async move {
        while let Some(request) = read_request(&mut stream).await {
            log.lock().unwrap().push(request.clone());
            let has_certificate = stream.ssl().peer_certificate().is_some();
            if request.path().starts_with("/secure")
                && !has_certificate
                && request_client_certificate(&mut stream).await.is_err()
            {
                let _ = write_response(&mut stream, "403 Forbidden", "cannot ask").await;
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
            if write_response(&mut stream, status, &body).await.is_none() {
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
