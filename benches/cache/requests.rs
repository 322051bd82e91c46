//! The token requests.
use keybound::{ManagedIdentityClient, TokenRequest};
use keybound_benches::test_host::unattested;

/// A request for a bearer token: azure_core has no other type.
pub fn request(resource: usize) -> TokenRequest {
    TokenRequest::bearer_over_mtls(scope(resource), unattested())
}

pub fn scope(resource: usize) -> String {
    format!("https://resource-{resource:04}.example.net/.default")
}

/// Fills the cache of a client with the tokens of this number of resources.
pub async fn fill(client: &ManagedIdentityClient, resources: usize) {
    for resource in 0..resources {
        let token = client.acquire_token(&request(resource)).await;
        token.expect("a token");
    }
}
