//! `ClientAssertionCredential` and `BoundCalls` with the tokens of an app registration.
use azure_core::credentials::TokenCredential as _;
use keybound::azure::{BoundCalls, ClientAssertionCredential};
use keybound::confidential::ClientCredential;
use keybound::{ConfidentialClient, Environment, Error, ErrorKind, KeyRequirements, UnverifiedJwt};
use keybound_emulator::Config;
use keybound_testing::emulated::{TestHost, VAULT};

fn app(host: &TestHost, tenant_id: &str) -> ConfidentialClient {
    let app_id = Config::default().tenants[0].apps[0].client_id.to_string();
    let credential = ClientCredential::managed_identity(&host.client());
    ConfidentialClient::builder(tenant_id, app_id, credential)
        .environment(Environment::empty())
        .authority(host.emulator.ready().sts.as_str())
        .build()
        .unwrap()
}

#[tokio::test]
async fn returns_bearer_tokens_of_the_app_registration() {
    let host = TestHost::new();
    let tenant = Config::default().tenants[0].id.to_string();
    let app = app(&host, &tenant);
    for credential in [
        ClientAssertionCredential::new(app.clone()),
        ClientAssertionCredential::over_mtls(app.clone(), KeyRequirements::attested()),
    ] {
        let first = credential.get_token(&[VAULT], None).await.unwrap();
        let again = credential.get_token(&[VAULT], None).await.unwrap();
        assert_eq!(first.token.secret(), again.token.secret());
        let claims = UnverifiedJwt::parse(first.token.secret()).unwrap();
        assert_eq!(claims.text("tid"), Some(tenant.as_str()));
        assert_eq!(claims.confirmation(), None);
        assert!(!format!("{credential:?}").contains(first.token.secret()));
    }
    // An assertion of each kind, and a token for each.
    assert_eq!((host.count("imds-token"), host.count("token")), (1, 3));
    let calls = BoundCalls::new(&app, KeyRequirements::attested()).unwrap();
    let placeholder = calls.credential().get_token(&[VAULT], None).await.unwrap();
    assert!(placeholder.token.secret().starts_with("keybound-"));
}

#[tokio::test]
async fn contains_the_error_of_the_exchange() {
    let host = TestHost::new();
    let of_host = Config::default().tenant_id.to_string();
    let credential = ClientAssertionCredential::new(app(&host, &of_host));
    let error = credential.get_token(&[VAULT], None).await.unwrap_err();
    let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref());
    let error: &Error = cause.unwrap();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.service().unwrap().has_code(700_016), "{error:?}");
}
