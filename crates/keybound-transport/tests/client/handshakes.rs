//! Handshakes after the first: servers may begin some until they response, and none on an idle connection.
use crate::support::http::{read_request, write_response};
use crate::support::keys::shared_key;
use crate::support::pki::Authority;
use crate::support::server::{
    ClientAuth, Server, ServerConfig, Tls, renegotiate, resource_server, tls_server, update_keys,
};
use crate::support::{TEST_TIMEOUT, client_builder, error_chain, get};
use keybound_openssl::server::request_client_certificate;
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

/// A server of the version in which this can be done, that does it so often before each response, and after it.
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
                    // Writing may succeed for a while; reading tells that the client is gone.
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
    /// Tells of each connection that the client has closed.
    ended: mpsc::UnboundedReceiver<()>,
}

#[tokio::test]
async fn a_few_before_each_answer_are_taken() {
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
async fn a_server_that_goes_on_with_them_is_given_up() {
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
        assert_eq!(server.requests(), 1, "nothing is sent twice");
    }
}

/// Only a connection that ended for no known reason lets a request be sent again.
#[tokio::test]
async fn a_request_is_not_sent_again_where_the_server_misbehaved_or_refused_the_certificate() {
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

/// Each request for the certificate has the key sign.
#[tokio::test]
async fn a_server_may_ask_for_the_certificate_eight_times() {
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
async fn an_idle_connection_ends_with_them() {
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
            // The client has closed it long before it would by itself.
            timeout(TEST_TIMEOUT, ended.recv()).await.unwrap().unwrap();
            assert_eq!(server.connections(), connections, "{handshake:?}");
        }
    }
}

/// A late ticket or a new key is no handshake.
#[tokio::test]
async fn an_idle_connection_outlives_a_change_of_keys() {
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

/// Its groups cost the client as much as the server likes.
#[tokio::test]
async fn finite_field_groups_are_not_used() {
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
