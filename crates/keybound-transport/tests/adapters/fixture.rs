//! A server, an identity and trust anchors, and the HTTP/1.1 of test clients.
use crate::support::keys::shared_key;
use crate::support::pki::{Authority, ClientIdentities as _};
use crate::support::server::{ClientAuth, Server, ServerConfig, hex, resource_server, tls_server};
use keybound_keys::BindingKey;
use keybound_testing::http1::{read_request, write_response};
use keybound_transport::{ClientIdentity, TrustAnchors};
use openssl::sha::sha256;
use openssl::ssl::{SslAcceptor, SslMethod, SslSessionCacheMode, SslVerifyMode, SslVersion};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

pub const SERVER: &str = "localhost";

/// A server of one authority, and an identity of another, which the server trusts.
pub struct Fixture {
    pub server: Server,
    pub identity: ClientIdentity,
    pub trust: TrustAnchors,
    pub authority: Authority,
}

pub async fn fixture(version: SslVersion, client_auth: ClientAuth) -> Fixture {
    fixture_with(version, client_auth, shared_key()).await
}

pub async fn fixture_with(
    version: SslVersion,
    client_auth: ClientAuth,
    key: Arc<dyn BindingKey>,
) -> Fixture {
    let authority = Authority::new("test authority");
    let clients = Authority::new("authority of clients");
    let server_config = ServerConfig {
        leaf: authority.server(SERVER),
        version: Some(version),
        client_auth,
        client_ca: clients.clone(),
    };
    Fixture {
        server: resource_server(server_config.context()).await,
        identity: clients.client("client", key),
        trust: trust_in(&authority),
        authority,
    }
}

/// A server that issues session tickets, requires a certificate, and returns for every request whether its session was resumed.
pub async fn resuming_server(authority: &Authority, version: SslVersion) -> Server {
    let leaf = authority.server(SERVER);
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    builder.set_certificate(&leaf.certificate).unwrap();
    builder.set_private_key(&leaf.key).unwrap();
    builder.set_min_proto_version(Some(version)).unwrap();
    builder.set_max_proto_version(Some(version)).unwrap();
    builder.set_session_id_context(b"test").unwrap();
    builder.set_session_cache_mode(SslSessionCacheMode::SERVER);
    let required = SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT;
    builder.set_verify_callback(required, |_, _| true);
    tls_server(
        builder.build().into_context(),
        |mut stream, _, _| async move {
            while read_request(&mut stream).await.is_some() {
                let resumed = stream.ssl().session_reused().to_string();
                write_response(&mut stream, "200 OK", &resumed).await;
            }
        },
    )
    .await
}

pub fn trust_in(authority: &Authority) -> TrustAnchors {
    TrustAnchors::system().with_pem(&authority.pem()).unwrap()
}

/// SHA-256 of the certificate, as the servers return it.
pub fn thumbprint(identity: &ClientIdentity) -> String {
    hex(&sha256(identity.certificate().der()))
}

/// The body of the response to a GET.
pub async fn get<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    path: &str,
) -> io::Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {SERVER}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut head = vec![];
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let (_, length) = head.split_once("content-length: ").unwrap();
    let length = length.lines().next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(String::from_utf8(body).unwrap())
}

/// The error and all its causes, for assertions on messages.
pub fn error_chain(error: &io::Error) -> String {
    let mut text = error.to_string();
    let mut next = error
        .get_ref()
        .map(|inner| inner as &(dyn std::error::Error + 'static));
    while let Some(cause) = next {
        text.push_str(&format!(" / {cause}"));
        next = cause.source();
    }
    text
}
