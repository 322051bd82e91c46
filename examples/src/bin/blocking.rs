//! The same without a runtime of one's own: for programs that do one thing after the other.
//!
//! `cargo run --package keybound-examples --bin blocking [-- --azure https://…]`
#![expect(clippy::print_stdout, reason = "an example shows what it got")]
use keybound::{KeyRequirements, TokenRequest, blocking};
use keybound_examples::World;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let world = World::from_arguments()?;
    let client = blocking::ManagedIdentityClient::new(world.client()?.build()?);
    let request = TokenRequest::pop("https://vault.azure.net", KeyRequirements::attested());
    let vault = client.resource_client(request)?;
    let response = vault.get(world.secret_url()?).send()?;
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
