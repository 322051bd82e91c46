//! Reads a secret from Key Vault with tokens that are bound to an attested key.
//!
//! `cargo run --package keybound-examples --bin vault_secret [-- --azure https://NAME.vault.azure.net/secrets/NAME?api-version=7.4]`
#![expect(clippy::print_stdout, reason = "an example prints its results")]
use keybound::KeyRequirements;
use keybound_examples::Platform;
use std::error::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let platform = Platform::from_arguments()?;
    let client = platform.client()?.build()?;
    let vault = client
        .resource("https://vault.azure.net", KeyRequirements::attested())
        .build()?;
    for _ in 0..2 {
        let response = vault.get(platform.secret_url()?).send().await?;
        let response = response.error_for_status().await?;
        let token = response.token();
        let binding = token.binding().ok_or("a bound token has a binding")?;
        println!(
            "token of type {} from {}, bound to {} (key: {}, attestation: {})",
            token.token_type(),
            token.source().as_str(),
            binding.certificate().thumbprints().x5t_s256,
            binding.key_strength_label(),
            binding.attestation().as_str(),
        );
        let reused = response
            .connection()
            .is_some_and(|connection| connection.reused);
        let status = response.status();
        let body = response.bytes().await?;
        println!(
            "the vault returned {status} with {} bytes on a {} connection",
            body.len(),
            if reused { "reused" } else { "new" },
        );
    }
    Ok(())
}
