//! `ManagedIdentityCredential` as a `TokenCredential` of azure_core, with App Service as the source.
use azure_core::credentials::TokenCredential;
use keybound::azure::ManagedIdentityCredential;
use keybound::{Environment, ErrorKind, ManagedIdentityClient, TokenRequest, TokenSource};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const SCOPE: &str = "https://management.azure.com/.default";

/// A source on loopback that sends the same response to every request.
struct Source {
    url: String,
    requests: Arc<AtomicUsize>,
}

impl Source {
    async fn start(status: u16, body: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/msi/token", listener.local_addr().unwrap());
        let requests = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                respond(connection, status, body).await;
            }
        });
        Self { url, requests }
    }

    async fn issuing() -> Self {
        let body = r#"{"access_token":"swordfish","expires_in":"3600","token_type":"Bearer"}"#;
        Self::start(200, body).await
    }

    fn client(&self) -> ManagedIdentityClient {
        let environment = Environment::from_lookup(|name| match name {
            "IDENTITY_ENDPOINT" => Some(self.url.clone()),
            "IDENTITY_HEADER" => Some("secret".to_owned()),
            _ => None,
        });
        let builder = ManagedIdentityClient::builder();
        builder.environment(environment).build().unwrap()
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

async fn respond(mut connection: TcpStream, status: u16, body: &str) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await.unwrap());
    }
    let length = body.len();
    let response = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    connection.write_all(response.as_bytes()).await.unwrap();
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
    let source = Source::issuing().await;
    let client = source.client();
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
        client.managed_identity_source()
    );
    assert_eq!(source.requests(), 1);
    let forced = TokenRequest::bearer(SCOPE).force_refresh(true);
    client.acquire_token(&forced).await.unwrap();
    assert_eq!(source.requests(), 2);
}

#[tokio::test]
async fn concurrent_callers_share_a_failure() {
    let source = Source::start(400, r#"{"statusCode":400,"message":"No MSI found"}"#).await;
    let credential = ManagedIdentityCredential::new(source.client());
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
    let source = Source::issuing().await;
    let credential: Arc<dyn TokenCredential> = ManagedIdentityCredential::new(source.client());
    for scopes in [&[][..], &[SCOPE, SCOPE]] {
        let error = credential.get_token(scopes, None).await.unwrap_err();
        assert!(error.to_string().contains("one scope"), "{error}");
    }
    assert_eq!(source.requests(), 0);
}
