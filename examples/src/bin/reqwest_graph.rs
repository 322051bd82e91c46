//! reqwest over rustls: for services that ask for the certificate in the first handshake, as Graph does. Key Vault
//! renegotiates, which rustls cannot; see `vault_secret` and `hyper_vault`.
//!
//! `cargo run --package keybound-examples --bin reqwest_graph [-- --azure]`
#![expect(clippy::print_stdout, reason = "an example shows what it got")]
use keybound::{AccessToken, KeyRequirements};
use keybound_examples::World;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use rustls::crypto::ring;
use std::error::Error;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let world = World::from_arguments()?;
    let client = world.client()?.build()?;
    let token = client
        .pop_token("https://graph.microsoft.com", KeyRequirements::attested())
        .await?;
    let http = http_client(&token)?;

    let mut authorization = HeaderValue::from_str(token.authorization().expose())?;
    authorization.set_sensitive(true);
    let answer = http
        .get(world.graph_url())
        .header(AUTHORIZATION, authorization)
        .send()
        .await?;
    let (status, version) = (answer.status(), answer.version());
    println!(
        "Graph answered {status} over {version:?} with {} bytes",
        answer.text().await?.len()
    );
    if !status.is_success() {
        return Err("the applications were not read".into());
    }
    Ok(())
}

/// A client that presents the certificate of this token. Make another one when a token comes with another binding.
fn http_client(token: &AccessToken) -> Result<reqwest::Client, Box<dyn Error>> {
    let binding = token.binding().ok_or("a bound token has a binding")?;
    let tls = binding.rustls().client_config(ring::default_provider())?;
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .https_only(true)
        // The token is for this origin.
        .redirect(reqwest::redirect::Policy::none())
        .build()?)
}
