//! Servers whose certificate is pinned by its SHA-1 thumbprint.
use crate::fixture::{clients, server, server_config};
use crate::native::{trusted, under_wine, wine_compatible};
use crate::support::pki::Leaf;
use crate::support::server::{ClientAuth, ServerConfig, renegotiate, switch_context, tls_server};
use crate::support::{error_chain, get, pin};
use keybound_testing::http1::{read_request, write_response};
use keybound_transport::{HttpsClient, TlsEngine, TransportErrorKind};
use openssl::ssl::SslVersion;

fn client(pinned: &Leaf) -> HttpsClient {
    HttpsClient::pinned(pin(&pinned.certificate), TlsEngine::SChannel).unwrap()
}

#[tokio::test]
async fn accepts_the_pinned_certificate_whatever_its_issuer_name_usage_and_validity() {
    for leaf in [
        wine_compatible(|| Leaf::self_signed("localhost")),
        wine_compatible(|| Leaf::self_signed("elsewhere.example")),
        wine_compatible(|| trusted().server("localhost")),
        wine_compatible(|| clients().server("elsewhere.example")),
        wine_compatible(|| clients().server("localhost")).with_chain(&[clients()]),
        wine_compatible(|| clients().for_clients_only("localhost")),
        wine_compatible(|| trusted().server_between("localhost", -9..-1)),
        wine_compatible(|| trusted().server_between("localhost", 1..9)),
    ] {
        let server = server(leaf.clone(), clients(), ClientAuth::Optional).await;
        let client = client(&leaf);
        for reused in [false, true] {
            let response = get(&client, &server.uri("/")).await;
            let response = response.unwrap_or_else(|error| panic!("{}", error_chain(&error)));
            assert_eq!((response.status, response.text()), (200, "0 none"));
            assert_eq!(response.info().reused, reused);
        }
    }
}

#[tokio::test]
async fn server_verified_by_its_own_thumbprint_only() {
    let trusted = trusted();
    let pinned = wine_compatible(|| trusted.server("localhost"));
    let other = wine_compatible(|| trusted.server("localhost"));
    let with_pinned_in_chain = Leaf {
        chain: vec![pinned.certificate.clone()],
        ..other.clone()
    };
    let root = Leaf {
        certificate: trusted.certificate().clone(),
        ..pinned.clone()
    };
    for (pinned, presented, why) in [
        (&pinned, other, "valid"),
        (
            &pinned,
            wine_compatible(|| trusted.server_between("localhost", -9..-1)),
            "another one, which has expired",
        ),
        (
            &pinned,
            wine_compatible(|| Leaf::self_signed("localhost")),
            "self-signed",
        ),
        (&pinned, with_pinned_in_chain, "the pinned one in the chain"),
        (
            &root,
            pinned.clone().with_chain(&[trusted]),
            "the pinned one is the trusted issuer",
        ),
    ] {
        let server = server(presented, clients(), ClientAuth::None).await;
        let error = get(&client(pinned), &server.uri("/")).await.expect_err(why);
        let text = error_chain(&error);
        assert_eq!(
            error.kind(),
            TransportErrorKind::ServerCertificate,
            "{why}: {text}"
        );
        assert!(
            text.contains("its SHA-1 thumbprint is not the pinned one"),
            "{why}: {text}"
        );
        assert_eq!(server.requests(), 0, "{why}");
    }
}

#[tokio::test]
async fn rejects_another_certificate_in_a_renegotiation() {
    if under_wine() {
        // Its SChannel does not support renegotiation.
        return;
    }
    let context = |leaf| {
        let server_config = ServerConfig {
            version: Some(SslVersion::TLS1_2),
            ..server_config(leaf, clients(), ClientAuth::None)
        };
        server_config.context()
    };
    let leaf = Leaf::self_signed("localhost");
    let second = context(Leaf::self_signed("localhost"));
    let server = tls_server(context(leaf.clone()), move |mut stream, _, _| {
        let second = second.clone();
        async move {
            read_request(&mut stream).await;
            switch_context(&stream, &second);
            if renegotiate(&mut stream).await {
                write_response(&mut stream, "200 OK", "here").await;
            }
        }
    })
    .await;
    let error = get(&client(&leaf), &server.uri("/")).await.unwrap_err();
    let text = error_chain(&error);
    assert_eq!(
        error.kind(),
        TransportErrorKind::ServerCertificate,
        "{text}"
    );
    assert!(text.contains("another certificate"), "{text}");
}
