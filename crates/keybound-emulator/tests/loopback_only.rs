//! A stolen key of the emulator's CA is useless for other hosts than loopback, for any certificate that it signs. Tested with a
//! client that trusts the CA for all hosts, the most permissive configuration.
#![expect(clippy::unwrap_used, reason = "a test fails on an unexpected error")]

use keybound_emulator::{Config, Emulator};
use keybound_testing::http1::{read_head, read_request};
use keybound_testing::server::{Server, handshake, tcp_server};
use keybound_testing::{Authority, Leaf};
use keybound_transport::{
    HttpsClient, HttpsSettings, ProxyConfig, RequestBody, TlsEngine, TransportError,
    TransportErrorKind, TrustAnchors,
};
use openssl::pkey::PKey;
use openssl::x509::X509;
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;

/// The CA, read from the state folder.
fn stolen_ca() -> (Authority, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let builder = Emulator::builder().config(Config::default());
    let emulator = builder.state_dir(folder.path()).start().unwrap();
    let pem = std::fs::read(folder.path().join("ca-key.pem")).unwrap();
    let certificate = X509::from_pem(&pem).unwrap();
    let key = PKey::private_key_from_pem(&pem).unwrap();
    (
        Authority::from_parts(certificate, key),
        emulator.ca_pem().to_vec(),
    )
}

/// Signs a certificate with a common name and optional subject alternative names.
fn sign(ca: &Authority, common_name: &str, names: &[&str]) -> Leaf {
    let usage = ExtendedKeyUsage::new().server_auth().build().unwrap();
    let constraints = BasicConstraints::new().build().unwrap();
    ca.issue(|builder| {
        let builder = builder.subject(common_name).hosts(names);
        builder.extension(constraints).extension(usage)
    })
}

/// A server that is also a proxy, so that it is reached under any name.
async fn impostor(leaf: &Leaf) -> Server {
    let context = leaf.acceptor().build().into_context();
    tcp_server(move |mut stream, _, log| {
        let context = context.clone();
        async move {
            let mut first = [0];
            if matches!(stream.peek(&mut first).await, Ok(1)) && first == *b"C" {
                read_head(&mut stream).await.unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            }
            let Some(mut stream) = handshake(&context, stream).await else {
                return;
            };
            if let Some(request) = read_request(&mut stream).await {
                log.lock().unwrap().push(request);
                let response = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
                let _ = stream.write_all(response).await;
            }
        }
    })
    .await
}

async fn get(trust: &TrustAnchors, impostor: &Server, host: &str) -> Result<u16, TransportError> {
    let port = impostor.address.port();
    let proxy = format!("http://127.0.0.1:{port}");
    let settings = HttpsSettings {
        engine: TlsEngine::OpenSsl,
        trust: trust.clone(),
        proxy: ProxyConfig::from_values(Some(&proxy), None).unwrap(),
        ..HttpsSettings::default()
    };
    let client = HttpsClient::new(None, settings).unwrap();
    let request = http::Request::get(format!("https://{host}:{port}/"))
        .body(RequestBody::empty())
        .unwrap();
    let response = client.send(request, Duration::from_secs(30)).await?;
    Ok(response.status().as_u16())
}

#[tokio::test]
async fn stolen_ca_is_trusted_for_loopback_only() {
    let (ca, pem) = stolen_ca();
    let trust = TrustAnchors::system().with_pem(&pem).unwrap();
    let loopback_only = TrustAnchors::system().with_loopback_pem(&pem).unwrap();
    for (common_name, names, host) in [
        // In the subject only: name constraints do not apply to a common name without a dot.
        ("intranet", &[][..], "intranet"),
        ("my.vault.azure.net", &[], "my.vault.azure.net"),
        ("*.azure.net", &[], "my.azure.net"),
        ("10.0.0.1", &[], "10.0.0.1"),
        ("localhost", &[], "localhost"),
        ("127.0.0.1", &[], "127.0.0.1"),
        ("*", &[], "intranet"),
        // In the subject, with a permitted alternative name.
        ("intranet", &["localhost"], "intranet"),
        ("intranet", &["127.0.0.1"], "intranet"),
        ("my.vault.azure.net", &["localhost"], "my.vault.azure.net"),
        // As the alternative name.
        ("other", &["intranet"], "intranet"),
        ("other", &["localhost", "intranet"], "intranet"),
        (
            "other",
            &["login.microsoftonline.com"],
            "login.microsoftonline.com",
        ),
        ("other", &["localhost.example"], "localhost.example"),
        ("other", &["*"], "intranet"),
        ("other", &["*.azure.net"], "my.azure.net"),
        ("other", &["10.0.0.1"], "10.0.0.1"),
        ("other", &["128.0.0.1"], "128.0.0.1"),
        ("other", &["::2"], "[::2]"),
    ] {
        let impostor = impostor(&sign(&ca, common_name, names)).await;
        for trust in [&trust, &loopback_only] {
            let error = get(trust, &impostor, host).await.unwrap_err();
            assert_eq!(
                error.kind(),
                TransportErrorKind::ServerCertificate,
                "CN={common_name} {names:?} as {host}: {error:?}"
            );
        }
        assert_eq!(impostor.requests(), 0, "{host}");
    }
}

#[tokio::test]
async fn stolen_ca_cannot_sign_another_ca() {
    let (ca, pem) = stolen_ca();
    let trust = TrustAnchors::system().with_pem(&pem).unwrap();
    let intermediate = ca.intermediate("another CA");
    for (names, host) in [
        (&["intranet"][..], "intranet"),
        (&["localhost"], "localhost"),
    ] {
        let impostor =
            impostor(&sign(&intermediate, "other", names).with_chain(&[&intermediate])).await;
        let error = get(&trust, &impostor, host).await.unwrap_err();
        assert_eq!(
            error.kind(),
            TransportErrorKind::ServerCertificate,
            "{host}"
        );
        assert_eq!(impostor.requests(), 0, "{host}");
    }
}

/// The other tests do not pass merely because no certificate is trusted.
#[tokio::test]
async fn ca_is_trusted_on_loopback() {
    let (ca, pem) = stolen_ca();
    for trust in [
        TrustAnchors::system().with_pem(&pem).unwrap(),
        TrustAnchors::system().with_loopback_pem(&pem).unwrap(),
    ] {
        for (names, host) in [
            (&["localhost"][..], "localhost"),
            (&["127.0.0.1"], "127.0.0.1"),
        ] {
            let impostor = impostor(&sign(&ca, "other", names)).await;
            assert_eq!(get(&trust, &impostor, host).await.unwrap(), 204, "{host}");
        }
    }
}
