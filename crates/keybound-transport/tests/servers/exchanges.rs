//! Requests of all kinds, as the servers demand the certificate in all their ways.
use crate::apache::APACHE;
use crate::front::{KINDS, Site};
use crate::load::{BOUND, Load, Tally, WORKERS};
use crate::nginx::NGINX;
use crate::scene::{BOTH, Scene, demands, each};
use crate::support::pki::Authority;
use crate::support::{call, get, post, words};
use keybound_transport::{RequestBody, TlsVersions, TransportErrorKind};

#[tokio::test]
async fn requests_and_bodies_cross_the_demand_for_the_certificate() {
    for kind in KINDS {
        let scene = Scene::new(kind).await;
        for version in BOTH {
            for (site, path) in demands(kind) {
                let uri = scene.front.uri(*site, path);
                // A new connection for each of the first requests: nothing, and as much as is sent unasked.
                for length in [0, 16 * 1024] {
                    let client = scene.client(version);
                    for reused in [false, true] {
                        let answer = post(&client, &uri, length).await.unwrap();
                        assert_eq!(answer.text(), format!("{length} {BOUND}"));
                        assert_eq!(answer.info().reused, reused);
                        assert!(answer.info().certificate_requested);
                    }
                    for (method, expected) in [("GET", "0 SUCCESS someone"), ("HEAD", "")] {
                        let answer = call(&client, method, &uri, RequestBody::empty()).await;
                        let answer = answer.unwrap();
                        assert_eq!((answer.status, answer.text()), (200, expected));
                        assert!(answer.info().reused);
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_megabyte_goes_out_on_an_authenticated_connection() {
    for kind in KINDS {
        let scene = Scene::new(kind).await;
        for version in BOTH {
            for (site, path) in demands(kind) {
                let uri = scene.front.uri(*site, path);
                let client = scene.client(version);
                if *site == Site::Location {
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
                assert_eq!(large.info().reused, *site == Site::Location);
                assert!(large.info().certificate_requested);
            }
        }
    }
}

#[tokio::test]
async fn a_connection_is_kept_across_the_demand_for_the_certificate() {
    let scene = Scene::new(&APACHE).await;
    for version in BOTH {
        let client = scene.client(version);
        let uri = |path| scene.front.uri(Site::Location, path);
        let open = get(&client, &uri("/open")).await.unwrap();
        assert!(open.text().starts_with("0 NONE"), "{}", open.text());
        assert!(!open.info().certificate_requested);
        // On TLS 1.3 Apache cannot demand what it has asked for politely: OpenSSL lets it ask once, and it answers 403.
        let paths = match version {
            TlsVersions::Tls12 => ["/asked", "/secure", "/open", "/secure"],
            _ => ["/secure", "/open", "/asked", "/secure"],
        };
        for path in paths {
            let answer = get(&client, &uri(path)).await.unwrap();
            assert_eq!(answer.text(), format!("0 {BOUND}"), "{path}");
            assert!(answer.info().reused && answer.info().certificate_requested);
        }
    }
}

/// Without a certificate, and with one that the server does not trust.
#[tokio::test]
async fn what_the_server_does_not_take_is_a_clean_error_or_its_own_answer() {
    let foreign = Authority::new("foreign authority");
    for kind in KINDS {
        let scene = Scene::new(kind).await;
        for version in BOTH {
            for (site, path) in demands(kind) {
                let uri = scene.front.uri(*site, path);
                for (issuer, length) in [(None, 0), (Some(&foreign), 0), (Some(&foreign), 16_000)] {
                    let client = scene.client_of(version, issuer);
                    let result = post(&client, &uri, length).await;
                    let result = match result {
                        Ok(answer) => Ok((answer.status, answer.info().certificate_requested)),
                        Err(error) => Err((error.kind(), words(&error))),
                    };
                    let case = format!("{} {version:?} {path} {site:?} {result:?}", kind.name);
                    let result = result.map_err(|(kind, _)| kind);
                    let refused = Err(TransportErrorKind::ClientCertificateRejected);
                    // An optional certificate is checked where it comes.
                    let optional = *site == Site::Optional || *path == "/asked";
                    let expected = match (kind.name, issuer) {
                        ("nginx", None) if optional => Ok((200, true)),
                        // It lets the handshake pass and answers in HTTP.
                        ("nginx", _) => Ok((400, true)),
                        // Apache cannot ask a client of TLS 1.3 that has not offered to be asked.
                        (_, None) if *site == Site::Location && version == TlsVersions::Tls13 => {
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
async fn many_requests_at_once_arrive_once_each_and_bound() {
    // A thousand for each worker, on the ways that differ most; elsewhere fewer, unless the long form is wanted.
    let full = [
        ("apache", Site::Location, TlsVersions::Tls12),
        ("nginx", Site::Require, TlsVersions::Tls13),
    ];
    for kind in [&APACHE, &NGINX] {
        for (site, path) in demands(kind) {
            for version in BOTH {
                let scene = Scene::new(kind).await;
                let client = scene.client(version);
                let is_full = *path != "/asked" && full.contains(&(kind.name, *site, version));
                let each = if is_full { 1000 } else { each(100) };
                let load = Load::new(&client, scene.front.uri(*site, path), each);
                let tally = load.run().await.reckon(&scene.application.ledger());
                assert_eq!(tally, Tally::all(WORKERS * each), "{} {site:?}", kind.name);
            }
        }
    }
}
