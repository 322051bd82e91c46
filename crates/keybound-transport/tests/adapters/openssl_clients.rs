//! OpenSSL clients of the caller's: from the setup for a host, from an `SslConnector`, and from a context builder.
use crate::fixture::{Fixture, SERVER, fixture, fixture_with, get, thumbprint, trust_in};
use crate::support::fixture::BOTH;
use crate::support::keys::{callback_key, hanging_key, shared_key};
use crate::support::pki::{Authority, ClientIdentities as _};
use crate::support::server::{
    ClientAuth, Server, ServerConfig, Tls, anonymous, renegotiate, resource_server, tls_server,
    with_shared_secret,
};
use keybound_keys::{KeyError, KeyErrorKind, SigningCost};
use keybound_transport::{ClientIdentity, OpensslSetup, TlsVersions, TrustAnchors, VersionPolicy};
use openssl::ssl::{self, Ssl, SslConnector, SslContextBuilder, SslMethod, SslVersion};
use openssl::x509::store::X509StoreBuilder;
use std::ffi::{c_int, c_void};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

pub fn setup(identity: &ClientIdentity, trust: &TrustAnchors) -> OpensslSetup {
    OpensslSetup::new(identity, trust, &VersionPolicy::default()).unwrap()
}

/// The ways to create a client, each with the name of the server set.
#[derive(Clone, Copy, Debug)]
enum ClientKind {
    ForHost,
    Connector,
    ContextBuilder,
}

const CLIENT_KINDS: [ClientKind; 3] = [
    ClientKind::ForHost,
    ClientKind::Connector,
    ClientKind::ContextBuilder,
];

fn client(kind: ClientKind, setup: &OpensslSetup, host: &str) -> Ssl {
    match kind {
        ClientKind::ForHost => setup.ssl(host).unwrap(),
        ClientKind::Connector => {
            let mut builder = SslConnector::builder(SslMethod::tls_client()).unwrap();
            setup.set_up(&mut builder, TlsVersions::Tls12Or13).unwrap();
            let configuration = builder.build().configure().unwrap();
            configuration.into_ssl(host).unwrap()
        }
        ClientKind::ContextBuilder => {
            let builder = setup.context_builder(TlsVersions::Tls12Or13).unwrap();
            let mut ssl = Ssl::new(&builder.build()).unwrap();
            ssl.param_mut().set_host(host).unwrap();
            ssl
        }
    }
}

pub async fn connect(ssl: Ssl, server: &Server) -> Result<Tls, ssl::Error> {
    let tcp = TcpStream::connect(server.address).await.unwrap();
    let mut stream = SslStream::new(ssl, tcp).unwrap();
    Pin::new(&mut stream).connect().await?;
    Ok(stream)
}

#[tokio::test]
async fn presents_the_certificate_in_the_first_handshake_and_later() {
    for version in BOTH {
        for (client_auth, path) in [
            (ClientAuth::Optional, "/"),
            (ClientAuth::Required, "/"),
            (ClientAuth::None, "/secure"),
        ] {
            for kind in CLIENT_KINDS {
                let fixture = fixture(version, client_auth).await;
                let ssl = client(kind, &setup(&fixture.identity, &fixture.trust), SERVER);
                let mut stream = connect(ssl, &fixture.server).await.unwrap();
                for _ in 0..2 {
                    let response = get(&mut stream, path).await.unwrap();
                    assert_eq!(response, format!("0 {}", thumbprint(&fixture.identity)));
                }
            }
        }
    }
}

#[tokio::test]
async fn rejects_servers_of_another_name_or_authority() {
    for kind in CLIENT_KINDS {
        let Fixture {
            server, identity, ..
        } = &fixture(SslVersion::TLS1_3, ClientAuth::None).await;
        let other = trust_in(&Authority::new("other authority"));
        let fixture = fixture(SslVersion::TLS1_3, ClientAuth::None).await;
        for (trust, host, server) in [
            (&fixture.trust, "elsewhere.example", &fixture.server),
            (&other, SERVER, server),
        ] {
            let ssl = client(kind, &setup(identity, trust), host);
            let error = connect(ssl, server).await.unwrap_err();
            assert!(
                error.to_string().contains("certificate verify failed"),
                "{kind:?} {error}"
            );
            assert_eq!(server.requests(), 0);
        }
    }
}

#[tokio::test]
async fn compares_names_with_the_subject_alternative_name_only() {
    let authority = Authority::new("test authority");
    let identity = authority.client("client", shared_key());
    let host = "my.api.example";
    for kind in CLIENT_KINDS {
        for (leaf, is_valid) in [
            (authority.server_with_names("any", &[host], &[]), true),
            (
                authority.server_with_names("any", &["*.api.example"], &[]),
                true,
            ),
            (authority.server_with_names(host, &[], &[]), false),
            (
                authority.server_with_names(host, &[], &["127.0.0.1"]),
                false,
            ),
            (
                authority.server_with_names(host, &["other.example"], &[]),
                false,
            ),
            (
                authority.server_with_names("any", &["m*.api.example"], &[]),
                false,
            ),
        ] {
            let server_config = ServerConfig {
                leaf: leaf.clone(),
                version: None,
                client_auth: ClientAuth::None,
                client_ca: authority.clone(),
            };
            let server = resource_server(server_config.context()).await;
            let ssl = client(kind, &setup(&identity, &trust_in(&authority)), host);
            let outcome = connect(ssl, &server).await;
            assert_eq!(outcome.is_ok(), is_valid, "{kind:?} {:?}", leaf.certificate);
        }
    }
}

#[tokio::test]
async fn any_certificate_can_be_a_trust_anchor() {
    let root = Authority::new("test root");
    let middle = root.intermediate("test authority");
    let identity = root.client("client", shared_key());
    let server_config = ServerConfig {
        leaf: middle.server(SERVER),
        version: None,
        client_auth: ClientAuth::None,
        client_ca: root.clone(),
    };
    let own = TrustAnchors::system()
        .with_pem(&server_config.leaf.pem())
        .unwrap();
    let server = resource_server(server_config.context()).await;
    for kind in CLIENT_KINDS {
        for (trust, is_valid) in [
            (&trust_in(&middle), true),
            (&own, true),
            (&trust_in(&root), false),
        ] {
            let ssl = client(kind, &setup(&identity, trust), SERVER);
            assert_eq!(connect(ssl, &server).await.is_ok(), is_valid, "{kind:?}");
        }
    }
}

/// A caller's TLS library does not report responses: data counts instead.
#[tokio::test]
async fn closes_connections_with_endless_handshakes() {
    let authority = Authority::new("test authority");
    let identity = authority.client("client", shared_key());
    for (times, data_between, is_valid) in [
        (5, false, true),
        (30, true, true),
        (30, false, false),
        // Data that is not read, or empty, would allow endless handshakes.
        (40, true, false),
    ] {
        let server_config = ServerConfig {
            leaf: authority.server(SERVER),
            version: Some(SslVersion::TLS1_2),
            client_auth: ClientAuth::None,
            client_ca: authority.clone(),
        };
        let server = tls_server(
            server_config.context(),
            move |mut stream: Tls, _, _| async move {
                for _ in 0..times {
                    if !renegotiate(&mut stream).await {
                        return;
                    }
                    if data_between && stream.write_all(b"x").await.is_err() {
                        return;
                    }
                }
                stream.write_all(b".").await.unwrap();
            },
        )
        .await;
        for kind in CLIENT_KINDS {
            let ssl = client(kind, &setup(&identity, &trust_in(&authority)), SERVER);
            let mut stream = connect(ssl, &server).await.unwrap();
            let mut heard = vec![];
            let _ = stream.read_to_end(&mut heard).await;
            assert_eq!(heard.ends_with(b"."), is_valid, "{kind:?} {times}");
        }
    }
}

/// Callers that allow everything that OpenSSL supports, like a lax configuration of the host.
#[tokio::test]
async fn rejects_servers_without_a_certificate() {
    let authority = Authority::new("test authority");
    let identity = authority.client("client", shared_key());
    let setup = setup(&identity, &trust_in(&authority));
    let lax = |builder: &mut SslContextBuilder| {
        builder.set_security_level(0);
        builder
            .set_cipher_list("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
            .unwrap();
    };
    let connector = |after: bool| {
        let mut builder = SslConnector::builder(SslMethod::tls_client()).unwrap();
        lax(&mut builder);
        setup.set_up(&mut builder, TlsVersions::Tls12).unwrap();
        if after {
            lax(&mut builder);
        }
        builder
            .build()
            .configure()
            .unwrap()
            .into_ssl(SERVER)
            .unwrap()
    };
    let own = || {
        let mut builder = setup.context_builder(TlsVersions::Tls12).unwrap();
        lax(&mut builder);
        let mut ssl = Ssl::new(&builder.build()).unwrap();
        ssl.param_mut().set_host(SERVER).unwrap();
        ssl
    };
    let for_host = || {
        let mut ssl = setup.ssl(SERVER).unwrap();
        ssl.set_max_proto_version(Some(SslVersion::TLS1_2)).unwrap();
        ssl.set_security_level(0);
        ssl.set_cipher_list("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
            .unwrap();
        ssl
    };
    for suites in ["AECDH", "ADH", "aNULL"] {
        let server = resource_server(anonymous(suites)).await;
        for ssl in [connector(false), connector(true), own(), for_host()] {
            assert!(connect(ssl, &server).await.is_err(), "{suites}");
            assert_eq!(server.requests(), 0);
        }
    }
}

/// A change of a context by the caller.
type Change<'a> = dyn Fn(&mut SslContextBuilder) + 'a;

/// Earlier settings of a caller's context with which OpenSSL would accept a server that is not trusted.
#[tokio::test]
async fn replaces_earlier_trust_of_a_context() {
    unsafe extern "C" {
        fn SSL_CTX_set_cert_verify_callback(
            context: *mut openssl_sys::SSL_CTX,
            callback: extern "C" fn(*mut c_void, *mut c_void) -> c_int,
            argument: *mut c_void,
        );
    }
    extern "C" fn verified(_: *mut c_void, _: *mut c_void) -> c_int {
        1
    }
    let authority = Authority::new("test authority");
    let other = Authority::new("other authority");
    let identity = authority.client("client", shared_key());
    let setup = setup(&identity, &trust_in(&authority));
    let with_store = |builder: &mut SslContextBuilder| {
        let mut store = X509StoreBuilder::new().unwrap();
        store.add_cert(other.certificate().clone()).unwrap();
        builder.set_verify_cert_store(store.build()).unwrap();
    };
    let with_callback = |builder: &mut SslContextBuilder| {
        // SAFETY: the context is alive; the callback has OpenSSL's type and does not use its arguments.
        unsafe {
            SSL_CTX_set_cert_verify_callback(builder.as_ptr(), verified, std::ptr::null_mut());
        }
    };
    let with_secret = |builder: &mut SslContextBuilder| {
        builder.set_psk_client_callback(|_, _, identity, secret| {
            identity[..2].copy_from_slice(b"x\0");
            secret[..32].copy_from_slice(&[7; 32]);
            Ok(32)
        });
    };
    let server_config = ServerConfig {
        leaf: other.server(SERVER),
        version: Some(SslVersion::TLS1_3),
        client_auth: ClientAuth::None,
        client_ca: authority.clone(),
    };
    let lax: [(&Change<'_>, _); 3] = [
        (&with_store, server_config.context()),
        (&with_callback, server_config.context()),
        (&with_secret, with_shared_secret(&[7; 32])),
    ];
    for (index, (lax, context)) in lax.into_iter().enumerate() {
        let server = resource_server(context).await;
        let connector = |is_set_up: bool| {
            let mut builder = SslConnector::builder(SslMethod::tls_client()).unwrap();
            lax(&mut builder);
            if is_set_up {
                setup.set_up(&mut builder, TlsVersions::Tls12Or13).unwrap();
            }
            let configuration = builder.build().configure().unwrap();
            configuration.into_ssl(SERVER).unwrap()
        };
        let before = connect(connector(false), &server).await;
        assert!(before.is_ok(), "{index} {before:?}");
        let after = connect(connector(true), &server).await;
        assert!(after.is_err(), "{index}");
    }
}

#[tokio::test]
async fn ignores_anchors_for_loopback_hosts() {
    for kind in CLIENT_KINDS {
        let fixture = fixture(SslVersion::TLS1_3, ClientAuth::None).await;
        let trust = TrustAnchors::system()
            .with_loopback_pem(&fixture.authority.pem())
            .unwrap();
        let ssl = client(kind, &setup(&fixture.identity, &trust), SERVER);
        assert!(connect(ssl, &fixture.server).await.is_err(), "{kind:?}");
    }
}

#[tokio::test]
async fn failing_panicking_or_wrong_key_fails_the_handshake() {
    for kind in CLIENT_KINDS {
        for key in [
            callback_key(SigningCost::Quick, |_, _| {
                Err(KeyError::new(KeyErrorKind::Failed, "the key is gone"))
            }),
            callback_key(SigningCost::Quick, |_, _| panic!("on purpose, in a test")),
            callback_key(SigningCost::Quick, |_, _| Ok(vec![7; 256])),
        ] {
            for version in BOTH {
                let fixture = fixture_with(version, ClientAuth::Required, key.clone()).await;
                let ssl = client(kind, &setup(&fixture.identity, &fixture.trust), SERVER);
                let error = connect(ssl, &fixture.server).await.unwrap_err();
                let message = error.to_string();
                assert!(message.contains("the key did not sign"), "{message}");
                assert_eq!(fixture.server.requests(), 0);
            }
        }
    }
}

#[tokio::test]
async fn hanging_key_occupies_one_thread_and_fails_the_handshake() {
    let (key, _release, signature_calls) = hanging_key();
    for kind in CLIENT_KINDS {
        let fixture = fixture_with(SslVersion::TLS1_3, ClientAuth::Required, key.clone()).await;
        for _ in 0..3 {
            let ssl = client(kind, &setup(&fixture.identity, &fixture.trust), SERVER);
            let error = connect(ssl, &fixture.server).await.unwrap_err();
            assert!(
                error.to_string().contains("the key did not sign"),
                "{error}"
            );
        }
    }
    assert_eq!(signature_calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn runtime_runs_tasks_while_a_slow_key_signs() {
    let key = callback_key(SigningCost::Slow, |scheme, digest| {
        // The signature waits for another task of the only worker.
        let (sender, receiver) = mpsc::channel();
        tokio::spawn(async move { sender.send(()) });
        receiver
            .recv_timeout(Duration::from_secs(20))
            .map_err(|_| KeyError::new(KeyErrorKind::Failed, "no other task ran"))?;
        shared_key().sign(scheme, digest)
    });
    let fixture = fixture_with(SslVersion::TLS1_2, ClientAuth::None, key).await;
    let expected = format!("0 {}", thumbprint(&fixture.identity));
    let response = tokio::spawn(async move {
        let ssl = client(
            ClientKind::ForHost,
            &setup(&fixture.identity, &fixture.trust),
            SERVER,
        );
        let mut stream = connect(ssl, &fixture.server).await.unwrap();
        get(&mut stream, "/secure").await.unwrap()
    });
    assert_eq!(response.await.unwrap(), expected);
}
