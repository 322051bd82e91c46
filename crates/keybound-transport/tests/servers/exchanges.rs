//! Requests to servers that request the certificate in different ways.
use crate::apache::APACHE;
use crate::fixture::{BOTH, Fixture, certificate_requests, each};
use crate::load::{BOUND, Load, Tally, WORKERS};
use crate::nginx::NGINX;
use crate::support::pki::Authority;
use crate::support::{call, error_chain, get, post};
use crate::web_server::{SERVER_KINDS, VirtualHost};
use keybound_transport::{RequestBody, TlsVersions, TransportErrorKind};

#[tokio::test]
async fn sends_bodies_across_certificate_requests() {
    for kind in SERVER_KINDS {
        let fixture = Fixture::new(kind).await;
        for version in BOTH {
            for (virtual_host, path) in certificate_requests(kind) {
                let uri = fixture.web_server.uri(*virtual_host, path);
                // New connections whose first request has no body, or the largest that needs no authenticated connection.
                for length in [0, 16 * 1024] {
                    let client = fixture.client(version);
                    for reused in [false, true] {
                        let response = post(&client, &uri, length).await.unwrap();
                        assert_eq!(response.text(), format!("{length} {BOUND}"));
                        assert_eq!(response.info().reused, reused);
                        assert!(response.info().certificate_requested);
                    }
                    for (method, expected) in [("GET", "0 SUCCESS someone"), ("HEAD", "")] {
                        let response = call(&client, method, &uri, RequestBody::empty()).await;
                        let response = response.unwrap();
                        assert_eq!((response.status, response.text()), (200, expected));
                        assert!(response.info().reused);
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn sends_a_megabyte_on_an_authenticated_connection() {
    for kind in SERVER_KINDS {
        let fixture = Fixture::new(kind).await;
        for version in BOTH {
            for (virtual_host, path) in certificate_requests(kind) {
                let uri = fixture.web_server.uri(*virtual_host, path);
                let client = fixture.client(version);
                if *virtual_host == VirtualHost::Location {
                    let refused = post(&client, &uri, 1 << 20).await.unwrap();
                    assert_eq!(refused.status, 413);
                    assert!(!refused.info().certificate_requested);
                    assert!(
                        get(&client, &uri)
                            .await
                            .unwrap()
                            .info()
                            .certificate_requested
                    );
                }
                let large = post(&client, &uri, 1 << 20).await.unwrap();
                assert_eq!(large.text(), format!("1048576 {BOUND}"), "{}", kind.name);
                assert_eq!(large.info().reused, *virtual_host == VirtualHost::Location);
                assert!(large.info().certificate_requested);
            }
        }
    }
}

#[tokio::test]
async fn reuses_connections_across_certificate_requests() {
    let fixture = Fixture::new(&APACHE).await;
    for version in BOTH {
        let client = fixture.client(version);
        let uri = |path| fixture.web_server.uri(VirtualHost::Location, path);
        let open = get(&client, &uri("/open")).await.unwrap();
        assert!(open.text().starts_with("0 NONE"), "{}", open.text());
        assert!(!open.info().certificate_requested);
        // On TLS 1.3 Apache cannot require a certificate after an optional request: OpenSSL allows one request, and Apache returns 403.
        let paths = match version {
            TlsVersions::Tls12 => ["/asked", "/secure", "/open", "/secure"],
            _ => ["/secure", "/open", "/asked", "/secure"],
        };
        for path in paths {
            let response = get(&client, &uri(path)).await.unwrap();
            assert_eq!(response.text(), format!("0 {BOUND}"), "{path}");
            assert!(response.info().reused && response.info().certificate_requested);
        }
    }
}

/// Clients without a certificate, and with one that the server does not trust.
#[tokio::test]
async fn rejected_certificate_is_an_error_or_an_error_response() {
    let foreign = Authority::new("foreign authority");
    for kind in SERVER_KINDS {
        let fixture = Fixture::new(kind).await;
        for version in BOTH {
            for (virtual_host, path) in certificate_requests(kind) {
                let uri = fixture.web_server.uri(*virtual_host, path);
                for (issuer, length) in [(None, 0), (Some(&foreign), 0), (Some(&foreign), 16_000)] {
                    let client = fixture.client_of(version, issuer);
                    let result = post(&client, &uri, length).await;
                    let result = match result {
                        Ok(response) => {
                            Ok((response.status, response.info().certificate_requested))
                        }
                        Err(error) => Err((error.kind(), error_chain(&error))),
                    };
                    let case = format!(
                        "{} {version:?} {path} {virtual_host:?} {result:?}",
                        kind.name
                    );
                    let result = result.map_err(|(kind, _)| kind);
                    let refused = Err(TransportErrorKind::ClientCertificateRejected);
                    // An optional certificate is verified where it is presented.
                    let optional = *virtual_host == VirtualHost::Optional || *path == "/asked";
                    let expected = match (kind.name, issuer) {
                        ("nginx", None) if optional => Ok((200, true)),
                        // nginx completes the handshake and responds in HTTP.
                        ("nginx", _) => Ok((400, true)),
                        // A TLS 1.3 client without a certificate does not offer post-handshake authentication.
                        (_, None)
                            if *virtual_host == VirtualHost::Location
                                && version == TlsVersions::Tls13 =>
                        {
                            Ok((403, false))
                        }
                        (_, None) if optional => Ok((200, true)),
                        _ => refused,
                    };
                    assert_eq!(result, expected, "{case}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_requests_arrive_once_each_with_the_certificate() {
    // A thousand for each worker in the most different cases; otherwise fewer, unless the long tests are enabled.
    let full = [
        ("apache", VirtualHost::Location, TlsVersions::Tls12),
        ("nginx", VirtualHost::Require, TlsVersions::Tls13),
    ];
    for kind in [&APACHE, &NGINX] {
        for (virtual_host, path) in certificate_requests(kind) {
            for version in BOTH {
                let fixture = Fixture::new(kind).await;
                let client = fixture.client(version);
                let is_full =
                    *path != "/asked" && full.contains(&(kind.name, *virtual_host, version));
                let each = if is_full { 1000 } else { each(100) };
                let load = Load::new(&client, fixture.web_server.uri(*virtual_host, path), each);
                let tally = load.run().await.check(&fixture.application.request_log());
                assert_eq!(
                    tally,
                    Tally::all(WORKERS * each),
                    "{} {virtual_host:?}",
                    kind.name
                );
            }
        }
    }
}
