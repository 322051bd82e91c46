//! Reads a secret as an app registration of another tenant. Its federated credential names the managed identity of this host, so
//! that no secret is stored: the identity's token is exchanged for one of the app registration, and both are bound to the same
//! key.
//!
//! `cargo run --package keybound-examples --bin app_registration`; on Azure
//! `… [-- --azure TENANT_ID CLIENT_ID https://NAME.vault.azure.net/secrets/NAME?api-version=7.4]`
#![expect(clippy::print_stdout, reason = "an example prints its results")]
use keybound::confidential::ClientCredential;
use keybound::{ConfidentialClient, KeyRequirements};
use keybound_emulator::Config;
use keybound_examples::Platform;
use std::error::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let platform = Platform::from_arguments()?;
    let identity = platform.client()?.build()?;
    let (tenant_id, client_id) = ids(&platform)?;
    let credential = ClientCredential::managed_identity(&identity);
    let app = ConfidentialClient::builder(tenant_id, client_id, credential);
    let app = match &platform {
        Platform::Emulator(emulator) => app.authority(emulator.ready().sts.as_str()),
        _ => app,
    };
    let app = app.build()?;
    let vault = app.resource("https://vault.azure.net", KeyRequirements::attested());
    let response = vault.build()?.get(platform.secret_url()?).send().await?;
    let response = response.error_for_status().await?;
    let claims = response.token().unverified_claims();
    let claims = claims.ok_or("the token is not a JWT")?;
    println!(
        "the vault returned {} to the app registration {} of tenant {}",
        response.status(),
        claims
            .text("appid")
            .or(claims.text("azp"))
            .unwrap_or_default(),
        claims.text("tid").unwrap_or_default(),
    );
    Ok(())
}

/// The tenant and the client id of the app registration: those of the arguments on Azure, otherwise those of the emulator.
fn ids(platform: &Platform) -> Result<(String, String), Box<dyn Error>> {
    if platform.is_azure() {
        let arguments = std::env::args().skip(1);
        let mut ids = arguments.filter(|argument| keybound::Guid::parse(argument).is_some());
        let ids = ids.next().zip(ids.next());
        return ids.ok_or_else(|| "TENANT_ID CLIENT_ID are missing".into());
    }
    let config = Config::default();
    let tenant = &config.tenants[0];
    let client_id = &tenant.apps[0].client_id;
    Ok((tenant.id.to_string(), client_id.to_string()))
}
