//! The verification of server certificates by Windows.
use crate::fixture::{builder, server};
use crate::native::{trusted, wine_compatible, wine_compatible_authority};
use crate::support::pki::Leaf;
use crate::support::server::ClientAuth;
use crate::support::{error_chain, get};
use keybound_transport::TransportErrorKind;

#[tokio::test]
async fn rejects_unverified_servers_with_name_and_reason() {
    let authority = trusted();
    let other = wine_compatible_authority("other authority");
    let client = builder().build().unwrap();
    for (leaf, reason) in [
        (
            wine_compatible(|| authority.server("elsewhere.example")),
            "hostname mismatch",
        ),
        (
            wine_compatible(|| authority.server_between("localhost", -9..-1)),
            "expired",
        ),
        (
            wine_compatible(|| authority.server_between("localhost", 1..9)),
            "not yet valid",
        ),
        (
            wine_compatible(|| Leaf::self_signed("localhost")),
            "not trusted",
        ),
        (wine_compatible(|| other.server("localhost")), "issuer"),
        (
            wine_compatible(|| authority.for_clients_only("localhost")),
            "not for servers",
        ),
    ] {
        let server = server(leaf, authority, ClientAuth::None).await;
        let error = get(&client, &server.uri("/")).await.expect_err(reason);
        assert_eq!(
            error.kind(),
            TransportErrorKind::ServerCertificate,
            "{reason}: {}",
            error_chain(&error)
        );
        let text = error.to_string();
        assert!(
            text.contains("localhost") && text.contains(reason),
            "{text}"
        );
        assert_eq!(server.requests(), 0);
    }
}
