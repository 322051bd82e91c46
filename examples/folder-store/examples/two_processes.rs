//! Two clients, as in two processes: the second one uses the key and the certificate of the first.
//!
//! `cargo run --package keybound-example-folder-store --example two_processes`
#![expect(clippy::print_stdout, reason = "an example prints its results")]
use keybound::keys::ProviderChain;
use keybound::tls::{TlsEngine, TrustAnchors};
use keybound::{KeyRequirements, KeyStrength, ManagedIdentityClient, X5tS256};
use keybound_emulator::{AttestationRule, Config, Emulator};
use keybound_example_folder_store::{FileKeyProvider, FolderStore};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut config = Config::default();
    config.imds.attestation = AttestationRule::Optional;
    let emulator = Emulator::start(config)?;
    let folder = tempfile::tempdir()?;

    let first = certificate(&emulator, folder.path()).await?;
    wait_for_entry(folder.path()).await?;
    let second = certificate(&emulator, folder.path()).await?;
    println!("the first client's certificate:  {first}");
    println!("the second client's certificate: {second}");
    let issued = emulator.counts()["issue"];
    println!("certificates issued: {issued}");
    if first != second || issued != 1 {
        return Err("the second client did not use the stored certificate".into());
    }
    Ok(())
}

/// Acquires a token with a new client, as a process does, and returns its certificate.
async fn certificate(emulator: &Emulator, folder: &Path) -> Result<X5tS256, Box<dyn Error>> {
    let provider = FileKeyProvider::new(folder.join("key.pem"));
    let client = ManagedIdentityClient::builder()
        .imds_endpoint(emulator.ready().imds.as_str())
        .trust(TrustAnchors::system().with_loopback_pem(emulator.ca_pem())?)
        .tls_engine(TlsEngine::OpenSsl)
        .key_providers(ProviderChain::new(vec![Arc::new(provider)]))
        .binding_store(Arc::new(FolderStore::new(folder)))
        .build()?;
    let requirements = KeyRequirements::unattested().min_strength(KeyStrength::Software);
    let token = client
        .pop_token("https://vault.azure.net", requirements)
        .await?;
    let binding = token.binding().ok_or("a bound token has a binding")?;
    Ok(binding.certificate().thumbprints().x5t_s256.clone())
}

/// Waits until the certificate is saved, which happens in the background.
async fn wait_for_entry(folder: &Path) -> Result<(), Box<dyn Error>> {
    for _ in 0..500 {
        for file in std::fs::read_dir(folder)? {
            if file?
                .path()
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                return Ok(());
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err("no certificate was stored".into())
}
