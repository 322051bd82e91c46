//! azure_identity's side. Its transport answers in this process: it has no network to wait for.
//!
//! In the manner of App Service, because for IMDS itself it retries six times whatever the response is; cache and requests are
//! the same.
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

/// What it reads where its endpoint is.
pub const ENVIRONMENT: [(&str, &str); 2] = [
    ("IDENTITY_ENDPOINT", "http://127.0.0.1:1/token"),
    ("IDENTITY_HEADER", "unused"),
];

pub fn has_environment() -> bool {
    ENVIRONMENT
        .iter()
        .all(|(name, value)| std::env::var(name).is_ok_and(|set| set == *value))
}

/// A credential for which every request is answered with this token, good for long.
pub fn credential(token: &str) -> Arc<dyn TokenCredential> {
    let answer = serde_json::json!({
        "access_token": token,
        "expires_on": FAR.to_string(),
        "token_type": "Bearer",
        "resource": "unused",
    });
    with_transport(Answers {
        status: StatusCode::Ok,
        body: answer.to_string().into(),
        after: Duration::ZERO,
    })
}

/// A credential for which every request is answered with 404 after a while.
pub fn failing(after: Duration) -> Arc<dyn TokenCredential> {
    with_transport(Answers {
        status: StatusCode::NotFound,
        body: Bytes::from_static(b"{}"),
        after,
    })
}

fn with_transport(answers: Answers) -> Arc<dyn TokenCredential> {
    let client_options = ClientOptions {
        retry: RetryOptions::none(),
        transport: Some(Transport::new(Arc::new(answers))),
        ..Default::default()
    };
    let options = ManagedIdentityCredentialOptions {
        client_options,
        ..Default::default()
    };
    ManagedIdentityCredential::new(Some(options)).expect("a credential")
}

/// Has a credential cache the tokens of so many resources.
pub async fn fill(credential: &dyn TokenCredential, resources: usize) {
    for resource in 0..resources {
        let scope = requests::scope(resource);
        let token = credential.get_token(&[&scope], None).await;
        token.expect("a token");
    }
}

#[derive(Debug)]
struct Answers {
    status: StatusCode,
    body: Bytes,
    after: Duration,
}

#[async_trait::async_trait]
impl HttpClient for Answers {
    async fn execute_request(&self, _request: &Request) -> azure_core::Result<AsyncRawResponse> {
        if !self.after.is_zero() {
            tokio::time::sleep(self.after).await;
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
