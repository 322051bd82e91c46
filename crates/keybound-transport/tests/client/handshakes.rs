//! Handshakes after the first: servers may begin some before each response, and none on an idle connection.
use crate::support::keys::shared_key;
use crate::support::pki::{Authority, ClientIdentities as _};
use crate::support::server::{
    ClientAuth, Server, ServerConfig, Tls, renegotiate, resource_server, tls_server, update_keys,
};
use crate::support::{TEST_TIMEOUT, client_builder, error_chain, get};
use keybound_openssl::server::request_client_certificate;
use keybound_testing::http1::{read_request, write_response};
use keybound_transport::TransportErrorKind;
use openssl::ssl::{SslAcceptor, SslMethod, SslVersion};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::AsyncReadExt as _;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

#[derive(Clone, Copy, Debug)]
enum HandshakeKind {
    Renegotiations,
    KeyUpdates,
}

const BOTH: [HandshakeKind; 2] = [HandshakeKind::Renegotiations, HandshakeKind::KeyUpdates];

impl HandshakeKind {
    fn version(self) -> SslVersion {
        match self {
            Self::Renegotiations => SslVersion::TLS1_2,
            Self::KeyUpdates => SslVersion::TLS1_3,
        }
    }

    async fn run(self, stream: &mut Tls) -> bool {
        match self {
            Self::Renegotiations => renegotiate(stream).await,
            Self::KeyUpdates => update_keys(stream).await,
        }
    }
}

/// A server that performs these numbers of handshakes before and after each response.
async fn server(
    authority: &Authority,
    handshake: HandshakeKind,
    before: usize,
    after: usize,
) -> ScriptedServer {
    let server_config = ServerConfig {
        leaf: authority.server("localhost"),
        version: Some(handshake.version()),
        client_auth: ClientAuth::None,
        client_ca: authority.clone(),
    };
    let (sender, ended) = mpsc::unbounded_channel();
    let idle = Arc::new(Notify::new());
    let is_idle = Arc::clone(&idle);
    let server = tls_server(server_config.context(), move |mut stream: Tls, _, log| {
        let (sender, is_idle) = (sender.clone(), Arc::clone(&is_idle));
        async move {
            while let Some(request) = read_request(&mut stream).await {
                log.lock().unwrap().push(request);
                for _ in 0..before {
                    if !handshake.run(&mut stream).await {
                        return;
                    }
                }
                write_response(&mut stream, "200 OK", "here").await;
                if after > 0 {
                    is_idle.notified().await;
                }
                for _ in 0..after {
                    if !handshake.run(&mut stream).await {
                        break;
                    }
                }
                if after > 0 {
                    // Writes may still succeed; a read detects that the client has closed the connection.
                    let _ = stream.read(&mut [0]).await;
                    sender.send(()).unwrap();
                    return;
                }
            }
        }
    })
    .await;
    ScriptedServer {
        server,
        idle,
        ended,
    }
}

struct ScriptedServer {
    server: Server,
    /// Receives a message when the client has read a response.
    idle: Arc<Notify>,
    /// Receives a message for each connection that the client has closed.
    ended: mpsc::UnboundedReceiver<()>,
}

#[tokio::test]
async fn accepts_some_before_each_response() {
    let authority = Authority::new("test authority");
    for handshake in BOTH {
        let ScriptedServer { server, .. } = server(&authority, handshake, 3, 0).await;
        let client = client_builder(&authority).build().unwrap();
        for _ in 0..30 {
            assert_eq!(get(&client, &server.uri("/")).await.unwrap().text(), "here");
        }
        assert_eq!(server.connections(), 1, "{handshake:?}");
    }
}

#[tokio::test]
async fn fails_after_too_many() {
    let authority = Authority::new("test authority");
    for handshake in BOTH {
        let ScriptedServer { server, .. } = server(&authority, handshake, 1000, 0).await;
        let client = client_builder(&authority).build().unwrap();
        let error = get(&client, &server.uri("/")).await.unwrap_err();
        let message = error_chain(&error);
        assert_eq!(
            error.kind(),
            TransportErrorKind::Tls,
            "{handshake:?} {message}"
        );
        assert!(
            message.contains("too many handshake messages"),
            "{handshake:?} {message}"
        );
        assert_eq!(server.requests(), 1, "no request is sent twice");
    }
}

/// A request is retried only where its connection ended for no known reason.
#[tokio::test]
async fn does_not_retry_after_violations_or_rejected_certificates() {
    let authority = Authority::new("test authority");
    for (handshake, kind) in [
        (Some(HandshakeKind::Renegotiations), TransportErrorKind::Tls),
        (Some(HandshakeKind::KeyUpdates), TransportErrorKind::Tls),
        (None, TransportErrorKind::ClientCertificateRejected),
    ] {
        let server_config = ServerConfig {
            leaf: authority.server("localhost"),
            version: Some(handshake.map_or(SslVersion::TLS1_2, HandshakeKind::version)),
            client_auth: ClientAuth::None,
            client_ca: authority.clone(),
        };
        let server = tls_server(
            server_config.context(),
            move |mut stream: Tls, _, log| async move {
                while let Some(request) = read_request(&mut stream).await {
                    log.lock().unwrap().push(request);
                    if log.lock().unwrap().len() != 2 {
                        write_response(&mut stream, "200 OK", "here").await;
                        continue;
                    }
                    let Some(handshake) = handshake else {
                        request_client_certificate(&mut stream).await.unwrap();
                        return;
                    };
                    while handshake.run(&mut stream).await {}
                }
            },
        )
        .await;
        let client = client_builder(&authority)
            .identity(authority.client("client", shared_key()))
            .build()
            .unwrap();
        assert_eq!(get(&client, &server.uri("/")).await.unwrap().text(), "here");
        let error = get(&client, &server.uri("/")).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{handshake:?} {}", error_chain(&error));
        assert_eq!(server.requests(), 2, "{handshake:?}");
    }
}

/// Each certificate request makes the key sign.
#[tokio::test]
async fn accepts_eight_certificate_requests() {
    let authority = Authority::new("test authority");
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let server_config = ServerConfig {
            leaf: authority.server("localhost"),
            version: Some(version),
            client_auth: ClientAuth::None,
            client_ca: authority.clone(),
        };
        let answered = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&answered);
        let server = tls_server(server_config.context(), move |mut stream: Tls, _, _| {
            let count = Arc::clone(&count);
            async move {
                read_request(&mut stream).await;
                while request_client_certificate(&mut stream).await.is_ok() {
                    count.fetch_add(1, Ordering::SeqCst);
                }
            }
        })
        .await;
        let client = client_builder(&authority)
            .identity(authority.client("client", shared_key()))
            .build()
            .unwrap();
        let error = get(&client, &server.uri("/")).await.unwrap_err();
        let message = error_chain(&error);
        assert_eq!(error.kind(), TransportErrorKind::Tls, "{message}");
        assert_eq!(answered.load(Ordering::SeqCst), 8, "{message}");
    }
}

#[tokio::test]
async fn closes_idle_connections_upon_handshakes() {
    let authority = Authority::new("test authority");
    for (handshake, times) in [
        (HandshakeKind::Renegotiations, 1),
        (HandshakeKind::KeyUpdates, 100),
    ] {
        let ScriptedServer {
            server,
            idle,
            mut ended,
        } = server(&authority, handshake, 0, times).await;
        let client = client_builder(&authority)
            .idle_timeout(TEST_TIMEOUT * 60)
            .build()
            .unwrap();
        for connections in 1..=2 {
            assert_eq!(get(&client, &server.uri("/")).await.unwrap().status, 200);
            idle.notify_one();
            // The client has closed it long before the idle timeout.
            timeout(TEST_TIMEOUT, ended.recv()).await.unwrap().unwrap();
            assert_eq!(server.connections(), connections, "{handshake:?}");
        }
    }
}

/// A ticket or a key update is not a handshake.
#[tokio::test]
async fn reuses_connections_after_key_updates() {
    let authority = Authority::new("test authority");
    let server_config = ServerConfig {
        leaf: authority.server("localhost"),
        version: Some(SslVersion::TLS1_3),
        client_auth: ClientAuth::None,
        client_ca: authority.clone(),
    };
    let server = tls_server(
        server_config.context(),
        |mut stream: Tls, _, _| async move {
            while read_request(&mut stream).await.is_some() {
                write_response(&mut stream, "200 OK", "here").await;
                update_keys(&mut stream).await;
            }
        },
    )
    .await;
    let client = client_builder(&authority).build().unwrap();
    for _ in 0..5 {
        assert_eq!(get(&client, &server.uri("/")).await.unwrap().status, 200);
    }
    assert_eq!(server.connections(), 1);
}

/// The server determines the client's computing time for its groups.
#[tokio::test]
async fn does_not_use_finite_field_groups() {
    let authority = Authority::new("test authority");
    let leaf = authority.server("localhost");
    for (groups, is_valid) in [("ffdhe2048:ffdhe8192", false), ("ffdhe2048:P-256", true)] {
        let mut builder = SslAcceptor::mozilla_modern_v5(SslMethod::tls_server()).unwrap();
        builder.set_certificate(&leaf.certificate).unwrap();
        builder.set_private_key(&leaf.key).unwrap();
        builder.set_groups_list(groups).unwrap();
        let server = resource_server(builder.build().into_context()).await;
        let client = client_builder(&authority).build().unwrap();
        let outcome = get(&client, &server.uri("/")).await;
        let kind = outcome
            .map(|response| response.status)
            .map_err(|error| error.kind());
        let expected = if is_valid {
            Ok(200)
        } else {
            Err(TransportErrorKind::Tls)
        };
        assert_eq!(kind, expected, "{groups}");
    }
}
