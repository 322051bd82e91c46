//! Servers whose certificate is pinned by its SHA-1 thumbprint.
use crate::support::fixture::{BOTH, name};
use crate::support::pki::{Authority, Leaf, weak};
use crate::support::server::{
    ClientAuth, Server, ServerConfig, renegotiate, resource_server, switch_context, tcp_server,
    tls_server,
};
use crate::support::{error_chain, get, pin};
use keybound_testing::http1::{read_request, write_response};
use keybound_transport::{HttpsClient, Sha1Thumbprint, TlsEngine, TransportErrorKind};
use openssl::ssl::{SslContext, SslMethod, SslVersion};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

fn client(leaf: &Leaf) -> HttpsClient {
    HttpsClient::pinned(pin(&leaf.certificate), TlsEngine::OpenSsl).unwrap()
}

fn config(leaf: &Leaf, version: Option<SslVersion>, client_auth: ClientAuth) -> ServerConfig {
    ServerConfig {
        leaf: leaf.clone(),
        version,
        client_auth,
        client_ca: Authority::new("authority of clients"),
    }
}

async fn server(leaf: &Leaf) -> Server {
    resource_server(config(leaf, None, ClientAuth::Optional).context()).await
}

/// Why a client that pins the first certificate rejects the server of the second, which gets no request.
async fn rejection(pinned: &Leaf, presented: &Leaf) -> String {
    let server = server(presented).await;
    let error = get(&client(pinned), &server.uri("/")).await.unwrap_err();
    let text = error_chain(&error);
    assert_eq!(
        error.kind(),
        TransportErrorKind::ServerCertificate,
        "{text}"
    );
    assert_eq!(server.requests(), 0, "{text}");
    error.to_string()
}

#[tokio::test]
async fn accepts_the_pinned_certificate_whatever_its_issuer_name_usage_and_validity() {
    let root = Authority::new("unknown root");
    let middle = root.intermediate("unknown authority");
    for leaf in [
        Leaf::self_signed("localhost"),
        Leaf::self_signed("elsewhere.example"),
        middle.server("elsewhere.example"),
        middle.server("localhost").with_chain(&[&middle]),
        middle.server("localhost").with_chain(&[&middle, &root]),
        middle.for_clients_only("localhost"),
        root.server_between("localhost", -9..-1),
        root.server_between("localhost", 1..9),
    ] {
        for version in BOTH {
            let config = config(&leaf, Some(version), ClientAuth::Optional);
            let server = resource_server(config.context()).await;
            let client = client(&leaf);
            for reused in [false, true] {
                let response = get(&client, &server.uri("/")).await.unwrap();
                assert_eq!((response.status, response.text()), (200, "0 none"));
                assert_eq!(response.info().tls_version, name(version));
                assert_eq!(response.info().reused, reused);
            }
        }
    }
}

#[tokio::test]
async fn server_verified_by_its_own_thumbprint_only() {
    let authority = Authority::new("test authority");
    let pinned = authority.server("localhost");
    let as_leaf = |authority: &Authority| Leaf {
        certificate: authority.certificate().clone(),
        ..pinned.clone()
    };
    let with_pinned_in_chain = Leaf {
        chain: vec![pinned.certificate.clone()],
        ..authority.server("localhost")
    };
    for (pinned, presented, why) in [
        (
            &pinned,
            &Leaf::self_signed("localhost"),
            "another certificate",
        ),
        (
            &pinned,
            &authority.server("localhost"),
            "another certificate of the same issuer",
        ),
        (
            &pinned,
            &authority.server_between("localhost", -9..-1),
            "another certificate, which has expired",
        ),
        (
            &authority.server_between("localhost", -9..-1),
            &pinned,
            "a valid certificate in place of an expired one",
        ),
        (
            &pinned,
            &with_pinned_in_chain,
            "the pinned one in the chain",
        ),
        (
            &as_leaf(&authority),
            &pinned.clone().with_chain(&[&authority]),
            "the pinned one is the issuer",
        ),
        (
            &pinned,
            &authority.reissue(&pinned, "localhost"),
            "another certificate of the same key",
        ),
    ] {
        let text = rejection(pinned, presented).await;
        let reason = "its SHA-1 thumbprint is not the pinned one";
        assert!(
            text.contains(reason) && text.contains("localhost"),
            "{why}: {text}"
        );
    }
}

#[tokio::test]
async fn rejects_the_pinned_certificate_with_a_weak_key() {
    let leaf = weak("localhost");
    let mut builder = SslContext::builder(SslMethod::tls_server()).unwrap();
    builder.set_security_level(0);
    builder.set_certificate(&leaf.certificate).unwrap();
    builder.set_private_key(&leaf.key).unwrap();
    let server = resource_server(builder.build()).await;
    let error = get(&client(&leaf), &server.uri("/")).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::ServerCertificate);
    assert!(error.to_string().contains("key too weak"), "{error}");
    assert_eq!(server.requests(), 0);
}

/// The thumbprint is public: a server proves that it has the key.
#[tokio::test]
async fn rejects_servers_without_the_key_of_the_pinned_certificate() {
    let pinned = Leaf::self_signed("localhost");
    for (key, has_key) in [
        (&Leaf::self_signed("localhost").key, false),
        (&pinned.key, true),
    ] {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let certificate = CertificateDer::from(pinned.certificate.to_der().unwrap());
            let key = PrivateKeyDer::try_from(key.private_key_to_pkcs8().unwrap()).unwrap();
            let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
            let certified = CertifiedKey::new(vec![certificate], key);
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = rustls::ServerConfig::builder_with_provider(provider)
                .with_protocol_versions(&[version])
                .unwrap()
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
            let acceptor = TlsAcceptor::from(Arc::new(config));
            let server = tcp_server(move |stream, _, log| {
                let acceptor = acceptor.clone();
                async move {
                    if let Ok(mut stream) = acceptor.accept(stream).await
                        && let Some(request) = read_request(&mut stream).await
                    {
                        log.lock().unwrap().push(request);
                        write_response(&mut stream, "200 OK", "here").await;
                    }
                }
            })
            .await;
            let response = get(&client(&pinned), &server.uri("/")).await;
            assert_eq!(server.requests(), usize::from(has_key));
            match response {
                Ok(response) => assert!(has_key && response.text() == "here"),
                Err(error) => {
                    let text = error_chain(&error);
                    assert!(!has_key, "{text}");
                    assert_eq!(error.kind(), TransportErrorKind::Tls, "{text}");
                }
            }
        }
    }
}

#[tokio::test]
async fn rejects_another_certificate_in_a_renegotiation() {
    let (first, second) = (
        Leaf::self_signed("localhost"),
        Leaf::self_signed("localhost"),
    );
    let context = |leaf| config(leaf, Some(SslVersion::TLS1_2), ClientAuth::None).context();
    for changes in [false, true] {
        let next = context(if changes { &second } else { &first });
        let server = tls_server(context(&first), move |mut stream, _, log| {
            let next = next.clone();
            async move {
                read_request(&mut stream).await;
                switch_context(&stream, &next);
                if renegotiate(&mut stream).await {
                    write_response(&mut stream, "200 OK", "here").await;
                }
                if let Some(request) = read_request(&mut stream).await {
                    log.lock().unwrap().push(request);
                }
            }
        })
        .await;
        let response = get(&client(&first), &server.uri("/")).await;
        if changes {
            let error = response.unwrap_err();
            let text = error_chain(&error);
            assert_eq!(
                error.kind(),
                TransportErrorKind::ServerCertificate,
                "{text}"
            );
            assert!(text.contains("another certificate"), "{text}");
        } else {
            assert_eq!(response.unwrap().text(), "here");
        }
        assert_eq!(server.requests(), 0);
    }
}

#[tokio::test]
async fn https_only_no_redirects_with_a_pinned_certificate() {
    let leaf = Leaf::self_signed("localhost");
    let target = server(&leaf).await;
    let elsewhere = format!("302 Found\r\nLocation: {}", target.uri("/"));
    let context = config(&leaf, None, ClientAuth::None).context();
    let server = tls_server(context, move |mut stream, _, _| {
        let elsewhere = elsewhere.clone();
        async move {
            read_request(&mut stream).await;
            write_response(&mut stream, &elsewhere, "there").await;
        }
    })
    .await;
    let client = client(&leaf);
    let response = get(&client, &server.uri("/")).await.unwrap();
    assert_eq!((response.status, response.text()), (302, "there"));
    assert_eq!(target.connections(), 0);
    let plain = server.uri("/").replace("https", "http");
    let error = get(&client, &plain).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::InvalidRequest);
}

#[test]
fn shows_the_thumbprint_and_reports_missing_engines() {
    let thumbprint = Sha1Thumbprint::of_der(b"abc");
    let client = HttpsClient::pinned(thumbprint, TlsEngine::OpenSsl).unwrap();
    let shown = format!("{client:?}");
    assert!(shown.contains(&thumbprint.to_string()), "{shown}");
    let other = HttpsClient::pinned(thumbprint, TlsEngine::SChannel);
    assert_eq!(other.is_ok(), cfg!(windows));
    if let Err(error) = other {
        assert_eq!(error.kind(), TransportErrorKind::HostUnsupported);
    }
}
