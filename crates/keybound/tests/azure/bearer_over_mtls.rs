//! `ManagedIdentityCredential::over_mtls` as a `TokenCredential` of azure_core.
use azure_core::credentials::TokenCredential as _;
use keybound::azure::ManagedIdentityCredential;
use keybound::{KeyRequirements, KeyStrength, TokenRequest, TokenSource};
use keybound_testing::emulated::{TestHost, VAULT};

fn any_key() -> KeyRequirements {
    KeyRequirements::unattested().min_strength(KeyStrength::Software)
}

#[tokio::test]
async fn caches_one_token_for_all_spellings_of_a_scope() {
    let host = TestHost::lenient();
    let client = host.builder_for_memory().build().unwrap();
    let credential = ManagedIdentityCredential::over_mtls(client.clone(), any_key());
    let first = credential.get_token(&[VAULT], None).await.unwrap();
    for spelling in [
        "https://vault.azure.net/.default",
        "https://vault.azure.net/",
        VAULT,
    ] {
        let again = credential.get_token(&[spelling], None).await.unwrap();
        assert_eq!(again.token.secret(), first.token.secret(), "{spelling}");
        assert_eq!(again.expires_on, first.expires_on);
    }
    assert_eq!(host.count("token"), 1);
    let request = TokenRequest::bearer_over_mtls(VAULT, any_key());
    let token = client.acquire_token(&request).await.unwrap();
    assert_eq!(token.source(), TokenSource::Cache);
    assert_eq!(token.secret().expose(), first.token.secret());
    let seconds = token.expires_on().duration_since(std::time::UNIX_EPOCH);
    assert_eq!(
        first.expires_on.unix_timestamp(),
        i64::try_from(seconds.unwrap().as_secs()).unwrap()
    );
}

#[tokio::test]
async fn never_returns_an_expired_token() {
    let host = TestHost::lenient();
    let client = host.builder_for_memory().build().unwrap();
    let credential = ManagedIdentityCredential::over_mtls(client, any_key());
    let first = credential.get_token(&[VAULT], None).await.unwrap();
    host.emulator.clock().advance(24 * 3600 + 1);
    let next = credential.get_token(&[VAULT], None).await.unwrap();
    assert_ne!(next.token.secret(), first.token.secret());
    assert!(next.expires_on > first.expires_on);
}

#[tokio::test]
async fn requires_one_scope_and_returns_the_cause_of_errors() {
    let host = TestHost::lenient();
    let client = host.builder_for_memory().build().unwrap();
    let credential = ManagedIdentityCredential::over_mtls(client, any_key());
    for scopes in [&[][..], &[VAULT, VAULT]] {
        let error = credential.get_token(scopes, None).await.unwrap_err();
        assert!(error.to_string().contains("one scope"), "{error}");
    }
    host.inject("metadata=status:400");
    let error = credential.get_token(&[VAULT], None).await.unwrap_err();
    assert_eq!(error.kind(), &azure_core::error::ErrorKind::Credential);
    let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref());
    let cause: &keybound::Error = cause.unwrap();
    assert_eq!(cause.stage(), keybound::Stage::Metadata);
}

#[tokio::test]
async fn attested_or_error() {
    let host = TestHost::lenient();
    let client = host.builder_for_memory().build().unwrap();
    let unattested = ManagedIdentityCredential::over_mtls(client.clone(), any_key());
    unattested.get_token(&[VAULT], None).await.unwrap();
    let attested = KeyRequirements::attested().min_strength(KeyStrength::Software);
    let attested = ManagedIdentityCredential::over_mtls(client, attested);
    attested.get_token(&[VAULT], None).await.unwrap_err();
}
