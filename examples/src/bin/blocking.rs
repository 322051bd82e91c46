//! The same without a runtime of one's own: for programs that do one thing after the other.
//!
//! `cargo run --package keybound-examples --bin blocking [-- --azure https://…]`
#![expect(clippy::print_stdout, reason = "an example shows what it got")]
use keybound::http::Request;
use keybound::{Pop, RequestBody, TokenRequest, blocking};
use keybound_examples::World;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let world = World::from_arguments()?;
    let client = blocking::ManagedIdentityClient::new(world.client()?.build()?);
    let token = client.acquire_token(
        TokenRequest::new("https://vault.azure.net").proof_of_possession(Pop::attested()),
    )?;
    for step in token.timings() {
        println!(
            "{:14} {:7.1} ms",
            step.step.as_str(),
            step.elapsed.as_secs_f64() * 1000.0
        );
    }
    let call = Request::get(world.secret_url()?).body(RequestBody::empty())?;
    let answer = client.call(&token, call, 64 * 1024)?;
    println!("the vault answered {}", answer.status());
    if !answer.status().is_success() {
        return Err("the secret was not read".into());
    }
    Ok(())
}
