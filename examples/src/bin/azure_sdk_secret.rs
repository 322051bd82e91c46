//! Reads and writes a secret with the Azure SDK's client for Key Vault, with tokens that are bound to an attested key.
//!
//! `cargo run --package keybound-examples --bin azure_sdk_secret [-- --azure https://NAME.vault.azure.net]`
#![expect(clippy::print_stdout, reason = "an example prints its results")]
use azure_core::http::ClientOptions;
use azure_security_keyvault_secrets::models::SetSecretParameters;
use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};
use keybound::KeyRequirements;
use keybound::azure::BoundCalls;
use keybound_examples::Platform;
use std::error::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let platform = Platform::from_arguments()?;
    let client = platform.client()?.build()?;
    let calls = BoundCalls::new(&client, KeyRequirements::attested())?;
    let options = SecretClientOptions {
        client_options: ClientOptions {
            transport: Some(calls.transport()),
            ..ClientOptions::default()
        },
        // The emulated vault is a local host, not a subdomain of vault.azure.net.
        verify_challenge_resource: Some(platform.is_azure()),
        ..SecretClientOptions::default()
    };
    let secrets = SecretClient::new(&platform.vault_url()?, calls.credential(), Some(options))?;
    let parameters = SetSecretParameters {
        value: Some("set by the SDK's client".to_owned()),
        ..SetSecretParameters::default()
    };
    secrets
        .set_secret("keybound-example", parameters.try_into()?, None)
        .await?;
    let secret = secrets.get_secret("keybound-example", None).await?;
    let secret = secret.into_model()?;
    let value = secret.value.ok_or("a secret has a value")?;
    println!("the secret has {} characters", value.len());
    match secret.id {
        Some(id) => println!("id: {id}"),
        None => return Err("a secret has an id".into()),
    }
    Ok(())
}
