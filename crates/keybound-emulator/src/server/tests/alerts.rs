//! Alerts that reject a client certificate.
use super::*;

#[tokio::test]
async fn rejects_a_certificate_with_the_given_alert() {
    for (name, part) in [
        ("bad_certificate", "bad certificate"),
        ("certificate_revoked", "certificate revoked"),
        ("certificate_expired", "certificate expired"),
        ("certificate_unknown", "certificate unknown"),
        ("unknown_ca", "unknown ca"),
        ("unsupported_certificate", "unsupported certificate"),
        ("handshake_failure", "handshake failure"),
    ] {
        let connection = move || rejecting(name);
        let first = start(
            &settings(ClientCertificate::First),
            EchoWithOptions(connection),
        )
        .await;
        let later = start(
            &settings(ClientCertificate::OnDemand),
            EchoWithOptions(connection),
        )
        .await;
        let options = ClientOptions::with(&self_signed("me", 1));
        for version in BOTH {
            let error = first_status(first.address, version, &options)
                .await
                .unwrap_err();
            assert!(format!("{error:?}").contains(part), "{version:?} {error:?}");
            let mut client = Client::connect(later.address, version, &options)
                .await
                .unwrap();
            assert_eq!(client.get("/", "").await.unwrap().status, 200);
            let error = client.get("/", WANT).await.unwrap_err();
            assert!(format!("{error:?}").contains(part), "{version:?} {error:?}");
        }
    }
    assert_eq!(CertificateAlert::named("close_notify"), None);
}

/// Alerts that OpenSSL does not send, with every cipher suite.
#[tokio::test]
async fn rejects_a_certificate_with_alerts_that_openssl_does_not_send() {
    for (name, part) in [
        ("access_denied", "access denied"),
        ("certificate_required", "certificate required"),
    ] {
        let connection = move || rejecting(name);
        let server = start(
            &settings(ClientCertificate::First),
            EchoWithOptions(connection),
        )
        .await;
        for (version, cipher) in [
            (BOTH[0], None),
            (BOTH[1], None),
            (BOTH[1], Some("TLS_AES_128_GCM_SHA256")),
            (BOTH[1], Some("TLS_AES_256_GCM_SHA384")),
            (BOTH[1], Some("TLS_CHACHA20_POLY1305_SHA256")),
        ] {
            let options = ClientOptions {
                cipher,
                ..ClientOptions::with(&self_signed("me", 1))
            };
            let error = first_status(server.address, version, &options)
                .await
                .unwrap_err();
            assert!(
                format!("{error:?}").contains(part),
                "{version:?} {cipher:?} {error:?}"
            );
            let anonymous = ClientOptions::default();
            let response = first_status(server.address, version, &anonymous).await;
            assert_eq!(response.unwrap(), 200, "no certificate is presented");
        }
    }
}

/// A failed handshake leaves data of the client unread (CertificateVerify, Finished), and the client may send its request
/// before or after it receives the alert.
#[tokio::test]
async fn rejected_certificate_causes_no_reset() {
    let connection = || rejecting("certificate_revoked");
    let server = start(
        &settings(ClientCertificate::First),
        EchoWithOptions(connection),
    )
    .await;
    let options = ClientOptions::with(&self_signed("me", 1));
    for run in 0..100 {
        for (version, waits) in [(BOTH[0], false), (BOTH[1], false), (BOTH[1], true)] {
            let rejected = async {
                let mut client = Client::connect(server.address, version, &options).await?;
                if waits {
                    client.stream.get_ref().peek(&mut [0]).await?;
                }
                client.get("/", "").await
            };
            let error = rejected.await.unwrap_err();
            assert!(
                format!("{error:?}").contains("certificate revoked"),
                "run {run}, {version:?}, {waits}: {error:?}"
            );
        }
    }
}

fn rejecting(alert: &str) -> ConnectionOptions {
    let alert = CertificateAlert::named(alert);
    ConnectionOptions {
        check: Some(Arc::new(move |_| alert)),
        ..ConnectionOptions::default()
    }
}
