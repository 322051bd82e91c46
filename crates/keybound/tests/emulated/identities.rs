//! System-assigned and user-assigned identities.
use keybound::{ErrorKind, ManagedIdentity, Stage};
use keybound_emulator::{Config, IdentityType};
use keybound_testing::emulated::{TestHost, assert_failed, attested, failure};

#[tokio::test]
async fn identities_by_client_object_and_resource_id_get_their_tokens() {
    let config = Config::default();
    let user = config
        .identities
        .iter()
        .find(|identity| identity.kind == IdentityType::User)
        .expect("the default configuration has a user-assigned identity")
        .clone();
    let host = TestHost::with(config);
    let resource_id = user
        .resource_id
        .clone()
        .expect("a user-assigned identity has a resource id");
    for (identity, parameter) in [
        (
            ManagedIdentity::client_id(user.client_id.as_str()).unwrap(),
            "client_id=",
        ),
        (
            ManagedIdentity::object_id(user.object_id.as_str()).unwrap(),
            "object_id=",
        ),
        (
            ManagedIdentity::resource_id(&resource_id).unwrap(),
            "mi_res_id=",
        ),
    ] {
        let client = host.builder().identity(identity).build().unwrap();
        let token = client.acquire_token(&attested()).await.unwrap();
        assert_eq!(token.binding().unwrap().client_id(), &user.client_id);
        let last = host
            .emulator
            .records()
            .into_iter()
            .rfind(|record| record.leg == "issue")
            .unwrap();
        assert!(last.query.contains(parameter), "{}", last.query);
    }
}

#[tokio::test]
async fn unknown_identity_is_an_error() {
    let host = TestHost::new();
    let unknown = ManagedIdentity::client_id("99999999-9999-4999-8999-999999999999").unwrap();
    let client = host.builder().identity(unknown).build().unwrap();
    let error = failure(&client, attested()).await;
    assert_failed(&error, ErrorKind::IdentityNotFound, Stage::Metadata);
    assert_eq!(error.status(), Some(400));
}

#[tokio::test]
async fn identities_share_nothing() {
    let host = TestHost::new();
    let user = Config::default()
        .identities
        .into_iter()
        .find(|identity| identity.kind == IdentityType::User)
        .unwrap();
    let system = host.client().acquire_token(&attested()).await.unwrap();
    let identity = ManagedIdentity::client_id(user.client_id.as_str()).unwrap();
    let other = host
        .builder()
        .identity(identity)
        .build()
        .unwrap()
        .acquire_token(&attested())
        .await
        .unwrap();
    assert_ne!(
        system.binding().unwrap().client_id(),
        other.binding().unwrap().client_id()
    );
    assert_ne!(system.secret(), other.secret());
}
