//! The certificate in the first handshake, by renegotiation and by post-handshake authentication.
use crate::support::fixture::{BOTH, fixture, name};
use crate::support::keys::shared_key;
use crate::support::pki::{Authority, ClientIdentities as _};
use crate::support::server::{ClientAuth, ServerConfig, Tls, hex, resource_server, tls_server};
use crate::support::{call, client_builder, get, post};
use keybound_testing::http1::{read_request, write_response};
use keybound_transport::{RequestBody, TransportErrorKind};
use openssl::sha::sha256;
use openssl::ssl::SslVersion;

#[tokio::test]
async fn presents_the_certificate_in_the_first_handshake() {
    for version in BOTH {
        for client_auth in [ClientAuth::Optional, ClientAuth::Required] {
            let fixture = fixture(version, client_auth).await;
            for reused in [false, true] {
                let response = get(&fixture.client, &fixture.server.uri("/"))
                    .await
                    .unwrap();
                assert_eq!(response.text(), format!("0 {}", fixture.thumbprint));
                let info = response.info();
                assert_eq!(info.tls_version, name(version));
                assert!(info.certificate_requested);
                assert_eq!(info.reused, reused);
                let of_server = info.server_certificate().unwrap().unwrap();
                assert!(of_server.not_after() > of_server.not_before());
            }
            assert_eq!(fixture.server.connections(), 1);
        }
    }
}

#[tokio::test]
async fn presents_the_certificate_after_the_request() {
    for version in BOTH {
        let fixture = fixture(version, ClientAuth::None).await;
        let uri = fixture.server.uri("/secure");
        let before = get(&fixture.client, &fixture.server.uri("/open"))
            .await
            .unwrap();
        assert_eq!(before.text(), "0 none");
        assert!(!before.info().certificate_requested);
        for length in [0, 64 * 1024, 64 * 1024] {
            let response = post(&fixture.client, &uri, length).await.unwrap();
            assert_eq!(
                response.text(),
                format!("{length} {}", fixture.thumbprint),
                "{}",
                name(version)
            );
            assert!(response.info().certificate_requested && response.info().reused);
        }
        assert_eq!(fixture.server.connections(), 1);
    }
}

#[tokio::test]
async fn sends_a_body_across_a_renegotiation() {
    for version in BOTH {
        let fixture = fixture(version, ClientAuth::None).await;
        let response = post(&fixture.client, &fixture.server.uri("/secure"), 64 * 1024)
            .await
            .unwrap();
        assert_eq!(response.text(), format!("65536 {}", fixture.thumbprint));
    }
}

#[tokio::test]
async fn presents_no_certificate_without_an_identity() {
    for version in BOTH {
        let authority = Authority::new("test authority");
        let server_config = |client_auth| ServerConfig {
            leaf: authority.server("localhost"),
            version: Some(version),
            client_auth,
            client_ca: authority.clone(),
        };
        let client = client_builder(&authority).build().unwrap();
        let later = resource_server(server_config(ClientAuth::None).context()).await;
        let response = get(&client, &later.uri("/secure")).await.unwrap();
        if version == SslVersion::TLS1_2 {
            assert_eq!((response.status, response.text()), (401, "0 none"));
            assert!(response.info().certificate_requested);
        } else {
            assert_eq!((response.status, response.text()), (403, "cannot ask"));
            assert!(!response.info().certificate_requested);
        }
        let first = resource_server(server_config(ClientAuth::Required).context()).await;
        let error = get(&client, &first.uri("/")).await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::ClientCertificateRejected);
        assert!(
            error.to_string().contains("requires a client certificate"),
            "{error}"
        );
        assert!(error.server_certificate().is_some());
    }
}

#[tokio::test]
async fn presents_certificates_of_any_authority_and_reports_their_rejection() {
    for version in BOTH {
        let authority = Authority::new("test authority");
        let foreign = Authority::new("foreign authority");
        let server_config = |client_auth| ServerConfig {
            leaf: authority.server("localhost"),
            version: Some(version),
            client_auth,
            client_ca: authority.clone(),
        };
        let identity = foreign.client("client", shared_key());
        let thumbprint = hex(&sha256(identity.certificate().der()));
        let client = client_builder(&authority)
            .identity(identity)
            .build()
            .unwrap();
        let optional = resource_server(server_config(ClientAuth::Optional).context()).await;
        let response = get(&client, &optional.uri("/")).await.unwrap();
        assert_eq!(response.text(), format!("0 {thumbprint}"));
        let required = resource_server(server_config(ClientAuth::Required).context()).await;
        for method in ["GET", "POST"] {
            let error = call(&client, method, &required.uri("/"), RequestBody::full("x"))
                .await
                .unwrap_err();
            assert_eq!(
                error.kind(),
                TransportErrorKind::ClientCertificateRejected,
                "{error:?}"
            );
        }
        assert_eq!(required.requests(), 0);
    }
}

#[tokio::test]
async fn presents_the_certificate_without_issuers() {
    let authority = Authority::new("test authority");
    let server_config = ServerConfig {
        leaf: authority.server("localhost"),
        version: None,
        client_auth: ClientAuth::Optional,
        client_ca: authority.clone(),
    };
    let server = tls_server(
        server_config.context(),
        |mut stream: Tls, _, _| async move {
            read_request(&mut stream).await;
            let issuers = stream
                .ssl()
                .peer_cert_chain()
                .map_or(0, |chain| chain.len());
            write_response(&mut stream, "200 OK", &issuers.to_string()).await;
        },
    )
    .await;
    // The client trusts the issuer of its certificate, and does not send it.
    let client = client_builder(&authority)
        .identity(authority.client("client", shared_key()))
        .build()
        .unwrap();
    assert_eq!(get(&client, &server.uri("/")).await.unwrap().text(), "0");
}

#[tokio::test]
async fn close_after_the_certificate_counts_as_rejection() {
    for version in BOTH {
        for (client_auth, cut) in [
            (ClientAuth::Optional, true),
            (ClientAuth::Optional, false),
            (ClientAuth::None, false),
        ] {
            let authority = Authority::new("test authority");
            let server_config = ServerConfig {
                leaf: authority.server("localhost"),
                version: Some(version),
                client_auth,
                client_ca: authority.clone(),
            };
            let server = tls_server(
                server_config.context(),
                move |mut stream: Tls, number, _| async move {
                    // The first connection ends at its first request, the second at its second.
                    for _ in 0..number {
                        read_request(&mut stream).await;
                        write_response(&mut stream, "200 OK", "x").await;
                    }
                    read_request(&mut stream).await;
                    if cut {
                        stream.get_ref().set_zero_linger().unwrap();
                    }
                },
            )
            .await;
            let client = client_builder(&authority)
                .identity(authority.client("client", shared_key()))
                .build()
                .unwrap();
            let error = get(&client, &server.uri("/")).await.unwrap_err();
            let expected = match client_auth {
                ClientAuth::None => TransportErrorKind::Protocol,
                _ => TransportErrorKind::ClientCertificateRejected,
            };
            assert_eq!(error.kind(), expected);
            assert!(error.is_connection_lost(), "there was no alert");
            // After a response, the close is no rejection.
            assert_eq!(get(&client, &server.uri("/")).await.unwrap().status, 200);
            let error = post(&client, &server.uri("/"), 1).await.unwrap_err();
            assert_eq!(error.kind(), TransportErrorKind::Protocol);
        }
    }
}
