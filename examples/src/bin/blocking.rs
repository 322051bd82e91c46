//! The same without a runtime of one's own: for programs that do one thing after the other.
//!
//! `cargo run --package keybound-examples --bin blocking [-- --azure https://…]`
#![expect(clippy::print_stdout, reason = "an example shows what it got")]
use keybound::{AccessToken, KeyRequirements, TokenRequest, blocking};
use keybound_examples::World;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let world = World::from_arguments()?;
    let client = blocking::ManagedIdentityClient::new(world.client()?.build()?);
    let request = TokenRequest::pop("https://vault.azure.net", KeyRequirements::attested());
    let vault = client.resource_client(request)?;
    let answer = vault.get(world.secret_url()?).send()?;
    let token = answer.extensions().get::<AccessToken>();
    for step in token.map_or(&[][..], AccessToken::timings) {
        println!(
            "{:14} {:7.1} ms",
            step.step.as_str(),
            step.elapsed.as_secs_f64() * 1000.0
        );
    }
    println!("the vault answered {}", answer.status());
    if !answer.status().is_success() {
        return Err("the secret was not read".into());
    }
    let mut body = answer.into_body();
    let length = std::io::copy(&mut body, &mut std::io::sink())?;
    println!("{length} bytes");
    Ok(())
}
