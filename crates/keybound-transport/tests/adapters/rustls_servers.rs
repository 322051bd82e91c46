//! The verification of servers for rustls, which is that of Keybound's own client.
use crate::fixture::{get, trust_in};
use crate::rustls_clients::{config, connect};
use crate::support::keys::shared_key;
use crate::support::pki::{Authority, ClientIdentities as _, Leaf};
use crate::support::server::{ClientAuth, Server, ServerConfig, resource_server};
use keybound_transport::TrustAnchors;
use rustls::CertificateError;

async fn server(authority: &Authority, leaf: Leaf) -> Server {
    let server_config = ServerConfig {
        leaf,
        version: None,
        client_auth: ClientAuth::None,
        client_ca: authority.clone(),
    };
    resource_server(server_config.context()).await
}

/// Connects to a server with this certificate, and returns why rustls rejects it, if it does.
async fn rejection(trust: &TrustAnchors, host: &str, leaf: Leaf) -> Option<CertificateError> {
    let authority = Authority::new("authority of clients");
    let mut server = server(&authority, leaf).await;
    server.host = host.into();
    let identity = authority.client("client", shared_key());
    let error = match connect(config(&identity, trust), &server).await {
        Ok(mut stream) => {
            get(&mut stream, "/").await.unwrap();
            return None;
        }
        Err(error) => error.into_inner().unwrap(),
    };
    assert_eq!(server.requests(), 0);
    match *error.downcast::<rustls::Error>().unwrap() {
        rustls::Error::InvalidCertificate(reason) => Some(reason),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn rejects_unverified_servers_with_the_reason() {
    use CertificateError as Reason;
    let authority = Authority::new("test authority");
    let other = Authority::new("other authority");
    let namesake = Authority::new("test authority");
    let valid = authority.server("localhost");
    let trust = trust_in(&authority);
    assert_eq!(rejection(&trust, "localhost", valid).await, None);
    for (leaf, reason) in [
        (
            authority.server("elsewhere.example"),
            Reason::NotValidForName,
        ),
        (authority.server("127.0.0.1"), Reason::NotValidForName),
        (
            authority.server_between("localhost", -9..-1),
            Reason::Expired,
        ),
        (
            authority.server_between("localhost", 1..9),
            Reason::NotValidYet,
        ),
        (
            authority.for_clients_only("localhost"),
            Reason::InvalidPurpose,
        ),
        (Leaf::self_signed("localhost"), Reason::UnknownIssuer),
        (other.server("localhost"), Reason::UnknownIssuer),
        (namesake.server("localhost"), Reason::BadSignature),
    ] {
        assert_eq!(rejection(&trust, "localhost", leaf).await, Some(reason));
    }
}

#[tokio::test]
async fn verifies_ip_addresses() {
    let authority = Authority::new("test authority");
    let trust = trust_in(&authority);
    let leaf = |host| authority.server(host);
    assert_eq!(
        rejection(&trust, "127.0.0.1", leaf("127.0.0.1")).await,
        None
    );
    for host in ["localhost", "127.0.0.2"] {
        let rejected = rejection(&trust, "127.0.0.1", leaf(host)).await;
        assert_eq!(rejected, Some(CertificateError::NotValidForName));
    }
}

#[tokio::test]
async fn compares_names_with_the_subject_alternative_name_only() {
    let authority = Authority::new("test authority");
    let trust = trust_in(&authority);
    let host = "my.api.example";
    for (host, leaf, is_rejected) in [
        (
            host,
            authority.server_with_names("any", &["*.api.example"], &[]),
            false,
        ),
        (
            host,
            authority.server_with_names("any", &["m*.api.example"], &[]),
            true,
        ),
        (host, authority.server_with_names(host, &[], &[]), true),
        (
            host,
            authority.server_with_names(host, &[], &["127.0.0.1"]),
            true,
        ),
        (
            "localhost",
            authority.server_with_names("localhost", &[], &[]),
            true,
        ),
        (
            "127.0.0.1",
            authority.server_with_names("127.0.0.1", &["127.0.0.1"], &[]),
            true,
        ),
    ] {
        let expected = is_rejected.then_some(CertificateError::NotValidForName);
        let shown = format!("{host} {:?}", leaf.certificate);
        assert_eq!(rejection(&trust, host, leaf).await, expected, "{shown}");
    }
}

#[tokio::test]
async fn any_certificate_can_be_a_trust_anchor() {
    let root = Authority::new("test root");
    let middle = root.intermediate("test authority");
    let leaf = middle.server("localhost");
    let full = leaf.clone().with_chain(&[&middle]);
    let own = TrustAnchors::system().with_pem(&leaf.pem()).unwrap();
    for (trust, leaf) in [
        (trust_in(&middle), &leaf),
        (trust_in(&middle), &full),
        (own, &leaf),
    ] {
        assert_eq!(rejection(&trust, "localhost", leaf.clone()).await, None);
    }
    let rejected = rejection(&trust_in(&root), "localhost", leaf).await;
    assert_eq!(rejected, Some(CertificateError::UnknownIssuer));
}

#[tokio::test]
async fn ignores_case_and_final_dot_of_names() {
    let authority = Authority::new("test authority");
    let trust = trust_in(&authority);
    for host in ["LOCALHOST", "localhost."] {
        let leaf = authority.server("localhost");
        assert_eq!(rejection(&trust, host, leaf).await, None, "{host}");
    }
}

#[tokio::test]
async fn ignores_anchors_for_loopback_hosts() {
    let authority = Authority::new("test authority");
    let trust = TrustAnchors::system()
        .with_loopback_pem(&authority.pem())
        .unwrap();
    let leaf = authority.server("localhost");
    let rejected = rejection(&trust, "localhost", leaf).await;
    assert_eq!(rejected, Some(CertificateError::UnknownIssuer));
}
