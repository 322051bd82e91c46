//! The HTTPS client against Apache, which asks for the certificate for some paths only: by renegotiation on TLS 1.2, by
//! post-handshake authentication on TLS 1.3. Needs the Debian package `apache2`.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#[path = "../support/mod.rs"]
mod support;

mod server;

use keybound_tls::{HttpsClient, TlsVersions, TransportErrorKind, VersionPolicy};
use server::Apache;
use support::keys::shared_key;
use support::pki::Authority;
use support::{client_builder, get, post, words};

const BOTH: [TlsVersions; 2] = [TlsVersions::Tls12, TlsVersions::Tls13];

struct Scene {
    apache: Apache,
    authority: Authority,
    clients: Authority,
}

fn scene() -> Scene {
    let authority = Authority::new("test authority");
    let clients = Authority::new("authority of clients");
    Scene {
        apache: Apache::start(&authority.server("localhost"), &clients),
        authority,
        clients,
    }
}

impl Scene {
    /// A client with a certificate of that authority.
    fn client(&self, version: TlsVersions, issuer: Option<&Authority>) -> HttpsClient {
        let mut builder = client_builder(&self.authority)
            .versions(VersionPolicy::default().with_host("localhost", version));
        if let Some(issuer) = issuer {
            builder = builder.identity(issuer.client("someone", shared_key()));
        }
        builder.build().unwrap()
    }
}

#[tokio::test]
async fn requests_and_bodies_cross_the_demand_for_the_certificate() {
    let scene = scene();
    let secure = scene.apache.uri("/secure");
    for version in BOTH {
        let client = scene.client(version, Some(&scene.clients));
        for reused in [false, true] {
            let answer = get(&client, &secure).await.unwrap();
            assert_eq!((answer.status, answer.text()), (200, "0 SUCCESS someone"));
            assert_eq!(answer.info().reused, reused);
        }
        let client = scene.client(version, Some(&scene.clients));
        for reused in [false, true] {
            let answer = post(&client, &secure, 64 * 1024).await.unwrap();
            assert_eq!(
                (answer.status, answer.text()),
                (200, "65536 SUCCESS someone")
            );
            assert_eq!(answer.info().reused, reused);
            assert!(answer.info().certificate_requested);
        }
    }
}

#[tokio::test]
async fn a_large_body_follows_a_bodyless_request_on_its_connection() {
    let scene = scene();
    let secure = scene.apache.uri("/secure");
    for version in BOTH {
        let client = scene.client(version, Some(&scene.clients));
        let refused = post(&client, &secure, 1 << 20).await.unwrap();
        assert_eq!(refused.status, 413);
        let open = get(&client, &scene.apache.uri("/open")).await.unwrap();
        assert_eq!(open.text(), "0  ");
        assert!(!open.info().certificate_requested);
        let first = get(&client, &secure).await.unwrap();
        assert!(first.info().reused && first.info().certificate_requested);
        let large = post(&client, &secure, 1 << 20).await.unwrap();
        assert_eq!(
            (large.status, large.text()),
            (200, "1048576 SUCCESS someone")
        );
        assert!(large.info().reused);
    }
}

#[tokio::test]
async fn without_a_certificate_there_is_a_clean_error() {
    let scene = scene();
    let secure = scene.apache.uri("/secure");
    let client = scene.client(TlsVersions::Tls12, None);
    let error = get(&client, &secure).await.unwrap_err();
    assert_eq!(
        error.kind(),
        TransportErrorKind::ClientCertificateRejected,
        "{}",
        words(&error)
    );
    // Apache cannot ask a client that has not offered to be asked.
    let client = scene.client(TlsVersions::Tls13, None);
    let answer = get(&client, &secure).await.unwrap();
    assert_eq!(answer.status, 403);
    assert!(!answer.info().certificate_requested);
}

#[tokio::test]
async fn a_certificate_of_a_foreign_authority_is_refused() {
    let scene = scene();
    let secure = scene.apache.uri("/secure");
    let foreign = Authority::new("foreign authority");
    for version in BOTH {
        let client = scene.client(version, Some(&foreign));
        for length in [0, 64 * 1024] {
            let error = post(&client, &secure, length).await.unwrap_err();
            assert_eq!(
                error.kind(),
                TransportErrorKind::ClientCertificateRejected,
                "{}",
                words(&error)
            );
        }
    }
}
