//! Reads a secret from Key Vault with tokens that are bound to an attested key.
//!
//! `cargo run --package keybound-examples --bin vault_secret [-- --azure https://NAME.vault.azure.net/secrets/NAME?api-version=7.4]`
#![expect(clippy::print_stdout, reason = "an example shows what it got")]
use keybound::http::ConnectionInfo;
use keybound::http::ResourceClient;
use keybound::{AccessToken, KeyRequirements, TokenRequest};
use keybound_examples::World;
use std::error::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let world = World::from_arguments()?;
    let client = world.client()?.build()?;
    let request = TokenRequest::pop("https://vault.azure.net", KeyRequirements::attested());
    let vault = ResourceClient::new(&client, request)?;
    for _ in 0..2 {
        let answer = vault.get(world.secret_url()?).send().await?;
        let status = answer.status();
        let token = answer.extensions().get::<AccessToken>();
        let token = token.ok_or("every answer knows its token")?;
        let binding = token.binding().ok_or("a bound token has a binding")?;
        println!(
            "token of type {} from {}, bound to {} (key: {}, attestation: {})",
            token.token_type(),
            token.source().as_str(),
            binding.certificate().thumbprints().x5t_s256,
            binding.key_strength_label(),
            binding.attestation().as_str(),
        );
        let connection = answer.extensions().get::<ConnectionInfo>();
        let reused = connection.is_some_and(|connection| connection.reused);
        let body = answer.into_body().collect(64 * 1024).await?;
        println!(
            "the vault answered {status} with {} bytes on a {} connection",
            body.len(),
            if reused { "kept" } else { "new" },
        );
        if !status.is_success() {
            return Err("the secret was not read".into());
        }
    }
    Ok(())
}
