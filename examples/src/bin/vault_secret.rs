//! Reads a secret from Key Vault with a token that is bound to an attested key.
//!
//! `cargo run --package keybound-examples --bin vault_secret [-- --azure https://NAME.vault.azure.net/secrets/NAME?api-version=7.4]`
#![expect(clippy::print_stdout, reason = "an example shows what it got")]
use keybound::http::Request;
use keybound::{Pop, RequestBody, TokenRequest};
use keybound_examples::World;
use std::error::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let world = World::from_arguments()?;
    let client = world.client()?.build()?;
    let request = TokenRequest::new("https://vault.azure.net").proof_of_possession(Pop::attested());
    let token = client.acquire_token(request.clone()).await?;
    let binding = token.binding().ok_or("a bound token has a binding")?;
    println!(
        "token of type {}, bound to {} (key: {}, attestation: {})",
        token.token_type(),
        binding.certificate().thumbprints().x5t_s256,
        binding.key_strength_label(),
        binding.attestation().as_str(),
    );

    // The second time it comes from the cache.
    let again = client.acquire_token(request).await?;
    println!("asked again: from {}", again.source().as_str());

    let call = Request::get(world.secret_url()?).body(RequestBody::empty())?;
    let answer = token.bound_client()?.send(&token, call).await?;
    let status = answer.status();
    let body = answer.into_body().collect(64 * 1024).await?;
    println!("the vault answered {status} with {} bytes", body.len());
    if !status.is_success() {
        return Err("the secret was not read".into());
    }
    Ok(())
}
