//! reqwest over rustls: for services that request the certificate in the first handshake, as Graph does. Key Vault uses
//! renegotiation, which rustls does not support; see `vault_secret` and `hyper_vault`.
//!
//! `cargo run --package keybound-examples --bin reqwest_graph [-- --azure]`
#![expect(clippy::print_stdout, reason = "an example prints its results")]
use keybound::{AccessToken, KeyRequirements};
use keybound_examples::Platform;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use rustls::crypto::ring;
use std::error::Error;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let platform = Platform::from_arguments()?;
    let client = platform.client()?.build()?;
    let token = client
        .pop_token("https://graph.microsoft.com", KeyRequirements::attested())
        .await?;
    let http = http_client(&token)?;

    let mut authorization = HeaderValue::from_str(token.authorization().expose())?;
    authorization.set_sensitive(true);
    let response = http
        .get(platform.graph_url())
        .header(AUTHORIZATION, authorization)
        .send()
        .await?;
    let (status, version) = (response.status(), response.version());
    println!(
        "Graph returned {status} over {version:?} with {} bytes",
        response.text().await?.len()
    );
    if !status.is_success() {
        return Err("the applications could not be read".into());
    }
    Ok(())
}

/// A client that presents the certificate of this token. Create another one for a token with another binding.
fn http_client(token: &AccessToken) -> Result<reqwest::Client, Box<dyn Error>> {
    let binding = token.binding().ok_or("a bound token has a binding")?;
    let tls = binding.rustls().client_config(ring::default_provider())?;
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .https_only(true)
        // The token is for this origin only.
        .redirect(reqwest::redirect::Policy::none())
        .build()?)
}
