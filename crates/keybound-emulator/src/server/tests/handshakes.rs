//! Connections that are refused, and the settings of handshakes.
use super::*;

#[tokio::test]
async fn refuses_a_connection_without_a_handshake() {
    let options = ClientOptions::default();
    for silence in [Refusal::Close, Refusal::Reset, Refusal::Hang] {
        let connection = move || ConnectionOptions {
            problem: Some(silence),
            ..ConnectionOptions::default()
        };
        let server = start(
            &settings(ClientCertificate::First),
            EchoWithOptions(connection),
        )
        .await;
        let connecting = Client::connect(server.address, SslVersion::TLS1_3, &options);
        match silence {
            Refusal::Hang => {
                let connected = tokio::time::timeout(Duration::from_millis(50), connecting);
                assert!(connected.await.is_err());
            }
            Refusal::Close | Refusal::Reset => assert!(connecting.await.is_err()),
        }
    }
}

#[tokio::test]
async fn presents_another_certificate_and_requests_none() {
    let other = self_signed("other", 1);
    let shown = other.certificate.clone();
    let connection = move || ConnectionOptions {
        identity: Some(other.clone()),
        no_certificate_request: true,
        ..ConnectionOptions::default()
    };
    let server = start(
        &settings(ClientCertificate::First),
        EchoWithOptions(connection),
    )
    .await;
    let options = ClientOptions::with(&self_signed("me", 1));
    for version in BOTH {
        let mut client = Client::connect(server.address, version, &options)
            .await
            .unwrap();
        let presented = client.stream.ssl().peer_certificate().unwrap();
        assert_eq!(presented.to_der().unwrap(), shown.to_der().unwrap());
        assert!(
            client
                .get("/", "")
                .await
                .unwrap()
                .text()
                .starts_with("none ")
        );
    }
}

#[tokio::test]
async fn accepts_only_the_configured_tls_versions() {
    for (versions, taken) in [
        (TlsVersionRange::Tls12, SslVersion::TLS1_2),
        (TlsVersionRange::Tls13, SslVersion::TLS1_3),
    ] {
        let mut limited = settings(ClientCertificate::First);
        limited.tls.versions = versions;
        let server = start(&limited, Echo).await;
        for version in BOTH {
            let options = ClientOptions::default();
            let response = first_status(server.address, version, &options)
                .await
                .is_ok();
            assert_eq!(response, version == taken, "{versions:?}");
        }
    }
}

#[tokio::test]
async fn offers_no_session_resumption() {
    let server = start(&settings(ClientCertificate::First), Echo).await;
    let options = ClientOptions::with(&self_signed("me", 1));
    for version in BOTH {
        let mut client = Client::connect(server.address, version, &options)
            .await
            .unwrap();
        assert_eq!(client.get("/", "").await.unwrap().status, 200);
        // A ticket would have left an id too.
        assert!(client.stream.ssl().session().unwrap().id().is_empty());
    }
}
