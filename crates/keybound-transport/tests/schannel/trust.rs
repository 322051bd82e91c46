//! Who the server is, in Windows' judgement.
use crate::native::{sound, sound_authority, trusted};
use crate::scene::{builder, server};
use crate::support::pki::self_signed;
use crate::support::server::Asks;
use crate::support::{get, words};
use keybound_transport::TransportErrorKind;

#[tokio::test]
async fn servers_that_cannot_be_verified_are_refused_by_name_and_reason() {
    let authority = trusted();
    let other = sound_authority("other authority");
    let client = builder().build().unwrap();
    for (leaf, reason) in [
        (
            sound(|| authority.server("elsewhere.example")),
            "hostname mismatch",
        ),
        (
            sound(|| authority.server_between("localhost", -9, -1)),
            "expired",
        ),
        (
            sound(|| authority.server_between("localhost", 1, 9)),
            "not yet valid",
        ),
        (sound(|| self_signed("localhost")), "not trusted"),
        (sound(|| other.server("localhost")), "issuer"),
        (
            sound(|| authority.for_clients_only("localhost")),
            "not one for servers",
        ),
    ] {
        let server = server(leaf, authority, Asks::Nothing).await;
        let error = get(&client, &server.uri("/")).await.expect_err(reason);
        assert_eq!(
            error.kind(),
            TransportErrorKind::ServerCertificate,
            "{reason}: {}",
            words(&error)
        );
        let text = error.to_string();
        assert!(
            text.contains("localhost") && text.contains(reason),
            "{text}"
        );
        assert_eq!(server.requests(), 0);
    }
}
