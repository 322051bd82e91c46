//! azure_identity, with a transport that responds in this process, without a network.
//!
//! It is configured for App Service, because with IMDS it retries six times after any response; cache and requests are the same.
use crate::requests;
use azure_core::Bytes;
use azure_core::credentials::TokenCredential;
use azure_core::http::headers::Headers;
use azure_core::http::{
    AsyncRawResponse, ClientOptions, HttpClient, Request, RetryOptions, StatusCode, Transport,
};
use azure_identity::{ManagedIdentityCredential, ManagedIdentityCredentialOptions};
use std::sync::Arc;
use std::time::Duration;

/// The variables from which it reads its endpoint.
pub const ENVIRONMENT: [(&str, &str); 2] = [
    ("IDENTITY_ENDPOINT", "http://127.0.0.1:1/token"),
    ("IDENTITY_HEADER", "unused"),
];

pub fn has_environment() -> bool {
    ENVIRONMENT
        .iter()
        .all(|(name, value)| std::env::var(name).is_ok_and(|set| set == *value))
}

/// A credential whose requests return this token, which is valid until 2100.
pub fn credential(token: &str) -> Arc<dyn TokenCredential> {
    let response = serde_json::json!({
        "access_token": token,
        "expires_on": FAR.to_string(),
        "token_type": "Bearer",
        "resource": "unused",
    });
    with_transport(FixedResponse {
        status: StatusCode::Ok,
        body: response.to_string().into(),
        delay: Duration::ZERO,
    })
}

/// A credential whose requests return 404 after a delay.
pub fn failing(delay: Duration) -> Arc<dyn TokenCredential> {
    with_transport(FixedResponse {
        status: StatusCode::NotFound,
        body: Bytes::from_static(b"{}"),
        delay,
    })
}

fn with_transport(response: FixedResponse) -> Arc<dyn TokenCredential> {
    let client_options = ClientOptions {
        retry: RetryOptions::none(),
        transport: Some(Transport::new(Arc::new(response))),
        ..Default::default()
    };
    let options = ManagedIdentityCredentialOptions {
        client_options,
        ..Default::default()
    };
    ManagedIdentityCredential::new(Some(options)).expect("a credential")
}

/// Fills the cache of a credential with the tokens of this number of resources.
pub async fn fill(credential: &dyn TokenCredential, resources: usize) {
    for resource in 0..resources {
        let scope = requests::scope(resource);
        let token = credential.get_token(&[&scope], None).await;
        token.expect("a token");
    }
}

#[derive(Debug)]
struct FixedResponse {
    status: StatusCode,
    body: Bytes,
    delay: Duration,
}

#[async_trait::async_trait]
impl HttpClient for FixedResponse {
    async fn execute_request(&self, _request: &Request) -> azure_core::Result<AsyncRawResponse> {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        Ok(AsyncRawResponse::from_bytes(
            self.status,
            Headers::new(),
            self.body.clone(),
        ))
    }
}

/// The year 2100, in seconds since 1970.
const FAR: u64 = 4_102_444_800;
