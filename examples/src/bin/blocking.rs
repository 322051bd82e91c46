//! Reads a secret with the blocking client, which needs no async runtime.
//!
//! `cargo run --package keybound-examples --bin blocking [-- --azure https://…]`
#![expect(clippy::print_stdout, reason = "an example prints its results")]
use keybound::{KeyRequirements, TokenRequest, blocking};
use keybound_examples::Platform;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let platform = Platform::from_arguments()?;
    let client = blocking::ManagedIdentityClient::new(platform.client()?.build()?);
    let request = TokenRequest::pop("https://vault.azure.net", KeyRequirements::attested());
    let vault = client.resource_client(request)?;
    let response = vault.get(platform.secret_url()?).send()?;
    for step in response.token().timings() {
        println!(
            "{:14} {:7.1} ms",
            step.step.as_str(),
            step.elapsed.as_secs_f64() * 1000.0
        );
    }
    println!("the vault returned {}", response.status());
    let mut body = response.error_for_status()?.into_body();
    let length = std::io::copy(&mut body, &mut std::io::sink())?;
    println!("{length} bytes");
    Ok(())
}
