//! What the clients are asked for.
use keybound::{ManagedIdentityClient, TokenRequest};
use keybound_benches::world::unattested;

/// A bearer token, as azure_core knows no other.
pub fn request(resource: usize) -> TokenRequest {
    TokenRequest::bearer_over_mtls(scope(resource), unattested())
}

pub fn scope(resource: usize) -> String {
    format!("https://resource-{resource:04}.example.net/.default")
}

/// Has a client cache the tokens of so many resources.
pub async fn fill(client: &ManagedIdentityClient, resources: usize) {
    for resource in 0..resources {
        let token = client.acquire_token(&request(resource)).await;
        token.expect("a token");
    }
}
