//! `ManagedIdentityCredential` as a `TokenCredential` of azure_core, with App Service as the source.
use azure_core::credentials::TokenCredential;
use keybound::azure::ManagedIdentityCredential;
use keybound::{Environment, ErrorKind, ManagedIdentityClient, TokenRequest, TokenSource};
use keybound_testing::http1::{read_request, write_response};
use keybound_testing::server::{Server, tcp_server};
use std::sync::Arc;

const SCOPE: &str = "https://management.azure.com/.default";
const ISSUED: &str = r#"{"access_token":"swordfish","expires_in":"3600","token_type":"Bearer"}"#;

/// A source on loopback that sends the same response to every request, and a client of it.
async fn source(status: &'static str, body: &'static str) -> (Server, ManagedIdentityClient) {
    let source = tcp_server(move |mut stream, _, requests| async move {
        while let Some(request) = read_request(&mut stream).await {
            requests.lock().unwrap().push(request);
            write_response(&mut stream, status, body).await;
        }
    });
    let source = source.await;
    let url = format!("http://{}/msi/token", source.address);
    let environment = Environment::from_lookup(move |name| match name {
        "IDENTITY_ENDPOINT" => Some(url.clone()),
        "IDENTITY_HEADER" => Some("secret".to_owned()),
        _ => None,
    });
    let builder = ManagedIdentityClient::builder().environment(environment);
    (source, builder.build().unwrap())
}

/// The results of 64 concurrent callers.
async fn callers(
    credential: &Arc<ManagedIdentityCredential>,
) -> Vec<azure_core::Result<azure_core::credentials::AccessToken>> {
    let calls = (0..64).map(|_| {
        let credential = Arc::clone(credential);
        tokio::spawn(async move { credential.get_token(&[SCOPE], None).await })
    });
    let mut results = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        results.push(call.await.unwrap());
    }
    results
}

#[tokio::test]
async fn concurrent_callers_share_one_request_and_the_cache() {
    let (source, client) = source("200 OK", ISSUED).await;
    let credential = ManagedIdentityCredential::new(client.clone());
    for token in callers(&credential).await {
        assert_eq!(token.unwrap().token.secret(), "swordfish");
    }
    assert_eq!(source.requests(), 1);
    let again = credential
        .get_token(&["https://management.azure.com"], None)
        .await;
    assert_eq!(again.unwrap().token.secret(), "swordfish");
    let token = client.bearer_token(SCOPE).await.unwrap();
    assert_eq!(token.source(), TokenSource::Cache);
    assert_eq!(
        token.managed_identity_source(),
        Some(client.managed_identity_source())
    );
    assert_eq!(source.requests(), 1);
    let forced = TokenRequest::bearer(SCOPE).force_refresh(true);
    client.acquire_token(&forced).await.unwrap();
    assert_eq!(source.requests(), 2);
}

#[tokio::test]
async fn concurrent_callers_share_a_failure() {
    let body = r#"{"statusCode":400,"message":"No MSI found"}"#;
    let (source, client) = source("400 Bad Request", body).await;
    let credential = ManagedIdentityCredential::new(client);
    for token in callers(&credential).await {
        let error = token.unwrap_err();
        assert_eq!(error.kind(), &azure_core::error::ErrorKind::Credential);
        let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref());
        let cause: &keybound::Error = cause.unwrap();
        assert_eq!(cause.kind(), ErrorKind::IdentityNotFound);
    }
    assert_eq!(source.requests(), 1);
}

#[tokio::test]
async fn requires_one_scope() {
    let (source, client) = source("200 OK", ISSUED).await;
    let credential: Arc<dyn TokenCredential> = ManagedIdentityCredential::new(client);
    for scopes in [&[][..], &[SCOPE, SCOPE]] {
        let error = credential.get_token(scopes, None).await.unwrap_err();
        assert!(error.to_string().contains("one scope"), "{error}");
    }
    assert_eq!(source.requests(), 0);
}
