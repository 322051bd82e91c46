//! `BoundCalls` with the SDK's client for Key Vault.
use azure_core::http::{ClientOptions, RetryOptions};
use azure_security_keyvault_secrets::models::SetSecretParameters;
use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};
use futures_util::TryStreamExt as _;
use keybound::KeyRequirements;
use keybound::azure::BoundCalls;
use keybound_testing::emulated::TestHost;

fn secrets(host: &TestHost, calls: &BoundCalls) -> SecretClient {
    let options = SecretClientOptions {
        client_options: ClientOptions {
            transport: Some(calls.transport()),
            retry: RetryOptions::none(),
            ..ClientOptions::default()
        },
        // The emulated vault is a local host, not a subdomain of vault.azure.net.
        verify_challenge_resource: Some(false),
        ..SecretClientOptions::default()
    };
    let vault = host.emulator.ready().vault.as_str();
    SecretClient::new(vault, calls.credential(), Some(options)).unwrap()
}

fn calls(host: &TestHost) -> BoundCalls {
    BoundCalls::new(&host.client(), KeyRequirements::attested()).unwrap()
}

#[tokio::test]
async fn reads_writes_and_lists_secrets() {
    let host = TestHost::new();
    let secrets = secrets(&host, &calls(&host));
    let secret = secrets.get_secret("demo-secret", None).await.unwrap();
    let secret = secret.into_model().unwrap();
    assert_eq!(
        secret.value.as_deref(),
        Some("only the holder of the key reads this")
    );
    let parameters = SetSecretParameters {
        value: Some("new".to_owned()),
        ..SetSecretParameters::default()
    };
    let set = secrets.set_secret("another", parameters.try_into().unwrap(), None);
    assert_eq!(
        set.await.unwrap().into_model().unwrap().value.as_deref(),
        Some("new")
    );
    let listed: Vec<_> = secrets
        .list_secret_properties(None)
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(listed.len(), 2);
    // One connection without a certificate, for the challenge with the scope; one for all calls, renegotiated once.
    assert_eq!((host.count("token"), host.count("vault-tls")), (1, 2));
}

#[tokio::test]
async fn sends_no_body_before_the_challenge() {
    let host = TestHost::new();
    let secrets = secrets(&host, &calls(&host));
    let parameters = SetSecretParameters {
        value: Some("first".to_owned()),
        ..SetSecretParameters::default()
    };
    secrets
        .set_secret("early", parameters.try_into().unwrap(), None)
        .await
        .unwrap();
    let puts = host.emulator.records().into_iter();
    let puts: Vec<_> = puts
        .filter(|record| record.method == "PUT")
        .map(|record| (record.status, record.body_bytes > 0))
        .collect();
    assert_eq!(puts, [(Some(401), false), (Some(200), true)]);
    let read = secrets.get_secret("early", None).await.unwrap();
    assert_eq!(read.into_model().unwrap().value.as_deref(), Some("first"));
}

#[tokio::test]
async fn handles_a_claims_challenge_in_the_transport() {
    let host = TestHost::new();
    let secrets = secrets(&host, &calls(&host));
    secrets.get_secret("demo-secret", None).await.unwrap();
    host.inject("vault=claims-challenge");
    secrets.get_secret("demo-secret", None).await.unwrap();
    assert_eq!((host.count("issue"), host.count("token")), (2, 2));
}

#[tokio::test]
async fn error_responses_are_errors_of_the_sdk() {
    let host = TestHost::new();
    let secrets = secrets(&host, &calls(&host));
    let error = secrets
        .get_secret("no-such-secret", None)
        .await
        .unwrap_err();
    let azure_core::error::ErrorKind::HttpResponse {
        status, error_code, ..
    } = error.kind()
    else {
        panic!("{error:?}");
    };
    assert_eq!(u16::from(*status), 404);
    assert_eq!(error_code.as_deref(), Some("SecretNotFound"));
}

#[tokio::test]
async fn failed_acquisition_is_a_credential_error() {
    let host = TestHost::new();
    let client = host.builder_for_memory().build().unwrap();
    let calls = BoundCalls::new(&client, KeyRequirements::attested()).unwrap();
    let error = secrets(&host, &calls)
        .get_secret("demo-secret", None)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), &azure_core::error::ErrorKind::Credential);
    let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref());
    let cause: &keybound::Error = cause.unwrap();
    assert_eq!(cause.kind(), keybound::ErrorKind::KeyTooWeak);
}
