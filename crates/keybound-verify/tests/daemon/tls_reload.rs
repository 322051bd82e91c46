//! New contents of the files of `[listen.tls]` while the daemon runs.
use crate::fixture::{connect, status};
use crate::support::runtime;
use crate::tls_daemon::{CERTIFICATE, CLIENTS, KEY, TlsDaemon, write_server};
use keybound_testing::{Leaf, p256_key};
use openssl::symm::Cipher;
use std::time::Duration;

/// Such as that of a proxy whose key was stolen.
#[test]
fn proxy_whose_certificate_is_removed_is_disconnected() {
    runtime().block_on(async {
        let tls = TlsDaemon::start("").await;
        let mut used = connect(tls.connect(Some(&tls.proxy)).await).await;
        assert_eq!(status(&mut used, tls.request()).await.0, 200);
        let mut unused = connect(tls.connect(Some(&tls.proxy)).await).await;
        std::fs::write(tls.path(CLIENTS), tls.other.pem()).unwrap();
        tls.daemon.reload().await.unwrap();
        for open in [&mut used, &mut unused] {
            assert!(open.send_request(tls.request()).await.is_err());
        }
        tls.is_closed(&tls.proxy).await;
        assert_eq!(tls.status_for(&tls.other).await, 200);
        tls.daemon.stop(Duration::ZERO).await;
    });
}

/// Such as the old and the new one of a proxy, while it gets a new one.
#[test]
fn all_certificates_of_a_file_are_pinned() {
    runtime().block_on(async {
        let tls = TlsDaemon::start("").await;
        let mut open = connect(tls.connect(Some(&tls.proxy)).await).await;
        assert_eq!(status(&mut open, tls.request()).await.0, 200);
        let both = [tls.other.pem(), tls.proxy.pem()].concat();
        std::fs::write(tls.path(CLIENTS), both).unwrap();
        tls.daemon.reload().await.unwrap();
        for leaf in [&tls.proxy, &tls.other] {
            assert_eq!(tls.status_for(leaf).await, 200);
        }
        assert_eq!(status(&mut open, tls.request()).await.0, 200);
        // Another file.
        std::fs::write(tls.path("new.pem"), tls.other.pem()).unwrap();
        tls.fixture.replace("/proxy.pem", "/new.pem");
        tls.daemon.reload().await.unwrap();
        assert!(open.send_request(tls.request()).await.is_err());
        assert_eq!(tls.status_for(&tls.other).await, 200);
        tls.daemon.stop(Duration::ZERO).await;
    });
}

#[test]
fn reload_renews_the_certificate_of_the_daemon() {
    runtime().block_on(async {
        let tls = TlsDaemon::start("").await;
        let mut open = connect(tls.connect(Some(&tls.proxy)).await).await;
        let renewed = Leaf::self_signed("localhost");
        write_server(&tls.fixture, &renewed);
        assert_ne!(presented(&tls).await, renewed.pem());
        tls.daemon.reload().await.unwrap();
        assert_eq!(presented(&tls).await, renewed.pem());
        assert_eq!(status(&mut open, tls.request()).await.0, 200);
        tls.daemon.stop(Duration::ZERO).await;
    });
}

#[test]
fn broken_files_leave_the_current_ones() {
    runtime().block_on(async {
        let tls = TlsDaemon::start("").await;
        let before = presented(&tls).await;
        let key = p256_key();
        let encrypted = key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"secret");
        let broken: &[u8] = b"-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n";
        for (name, setting, content, why) in [
            (CLIENTS, "clients", Some(broken), ": "),
            (
                CLIENTS,
                "clients",
                Some(&b""[..]),
                "it has no certificate in PEM",
            ),
            (CLIENTS, "clients", None, "No such file"),
            (CERTIFICATE, "certificate", Some(broken), ": "),
            (
                CERTIFICATE,
                "certificate",
                Some(b""),
                "it has no certificate in PEM",
            ),
            (CERTIFICATE, "certificate", None, "No such file"),
            (
                KEY,
                "key",
                Some(&encrypted.unwrap()),
                "it has no key in PEM, or it is encrypted",
            ),
            (
                KEY,
                "key",
                Some(b""),
                "it has no key in PEM, or it is encrypted",
            ),
            (
                KEY,
                "key",
                Some(&key.private_key_to_pem_pkcs8().unwrap()),
                "it is not the key of the certificate",
            ),
            (KEY, "key", None, "No such file"),
        ] {
            let path = tls.path(name);
            let sound = std::fs::read(&path).unwrap();
            match content {
                Some(content) => std::fs::write(&path, content).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            let error = tls.daemon.reload().await.unwrap_err().to_string();
            let place = format!("[listen.tls] {setting} {}: ", path.display());
            assert!(error.contains(&place) && error.contains(why), "{error}");
            assert_eq!(tls.status_for(&tls.proxy).await, 200, "{error}");
            assert_eq!(presented(&tls).await, before, "{error}");
            std::fs::write(&path, sound).unwrap();
        }
        // The others are not replaced either.
        std::fs::write(tls.path(CLIENTS), tls.other.pem()).unwrap();
        tls.fixture.replace("tenants", "tenant");
        tls.daemon.reload().await.unwrap_err();
        assert_eq!(tls.status_for(&tls.proxy).await, 200);
        tls.daemon.stop(Duration::ZERO).await;
    });
}

/// The certificate of the daemon, in PEM.
async fn presented(tls: &TlsDaemon) -> Vec<u8> {
    let stream = tls.connect(Some(&tls.proxy)).await;
    let certificate = stream.ssl().peer_certificate().unwrap();
    certificate.to_pem().unwrap()
}
