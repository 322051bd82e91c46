//! Assertions of a simulated identity are for the emulator only.
use super::Leg;
use super::app::{APP, APP_TENANT};
use super::script::Script;
use super::services::Services;
use super::test_host::{Setup, TestHost, unattested};
use crate::cache::tests::authority;
use crate::confidential::ClientCredential;
use crate::{
    ConfidentialClient, Environment, ErrorKind, KeyStrength, ManagedIdentityClient, Stage,
    TokenRequest,
};
use keybound_testing::{FixedKeyProvider, TestKey};
use keybound_transport::TrustAnchors;
use std::sync::Arc;

#[tokio::test(start_paused = true)]
async fn assertion_of_a_simulated_identity_is_not_sent_to_a_cloud() {
    let host = TestHost::new(Setup::default(), Script::default());
    let identity = simulated(&host);
    let app = ConfidentialClient::builder(
        APP_TENANT,
        APP,
        ClientCredential::managed_identity(&identity),
    );
    let app = app.environment(Environment::empty()).build().unwrap();
    for request in [unattested(VAULT), TokenRequest::bearer(VAULT)] {
        let error = app.acquire_token(&request).await.unwrap_err();
        let expected = (ErrorKind::SimulatedNotAllowed, Stage::Request);
        assert_eq!((error.kind(), error.stage()), expected);
    }
    let called = [Leg::Metadata, Leg::Source, Leg::Token, Leg::Exchange];
    assert!(called.iter().all(|leg| host.calls(*leg).is_empty()));
}

#[tokio::test(start_paused = true)]
async fn assertion_of_a_function_with_a_simulated_binding_is_not_sent_to_a_cloud() {
    let host = TestHost::new(Setup::default(), Script::default());
    let identity = simulated(&host);
    let credential = ClientCredential::callback(move |request| {
        let identity = identity.clone();
        async move {
            let assertion = unattested(&request.audience);
            Ok::<_, crate::Error>(identity.acquire_token(&assertion).await?.into())
        }
    });
    let app = ConfidentialClient::builder(APP_TENANT, APP, credential)
        .environment(Environment::empty())
        .clock(Arc::clone(&host) as _)
        .simulated(Services(Arc::clone(&host)), 1)
        .build()
        .unwrap();
    let error = app.acquire_token(&unattested(VAULT)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SimulatedNotAllowed);
    let calls = [Leg::Token, Leg::Exchange].map(|leg| host.calls(leg).len());
    assert_eq!(calls, [1, 0]);
}

/// A client with a simulated key, which is accepted with an IMDS on loopback and a CA of the caller.
fn simulated(host: &Arc<TestHost>) -> ManagedIdentityClient {
    let key = TestKey::new().with_strength(KeyStrength::KeyGuard);
    let keys = FixedKeyProvider::new(Arc::new(key.with_simulated(true))).at_once();
    host.client_builder(Arc::new(keys), 1)
        .imds_endpoint("http://127.0.0.1:1")
        .trust(TrustAnchors::system().with_pem(&authority()).unwrap())
        .build()
        .unwrap()
}

const VAULT: &str = "https://vault.azure.net";
