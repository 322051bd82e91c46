//! What errors tell: has the emulator refuse in several ways and shows what a program can do with each answer.
//!
//! `cargo run --package keybound-examples --bin errors`
#![expect(clippy::print_stdout, reason = "an example shows what it got")]
use keybound::{ErrorKind, KeyRequirements};
use keybound_emulator::{Config, Emulator};
use keybound_examples::World;
use std::error::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    for (fault, resource) in [
        ("metadata=status:404", "https://vault.azure.net"),
        ("issue=certificate:other-key", "https://vault.azure.net"),
        ("token=token-type:Bearer", "https://vault.azure.net"),
        ("token=status:503", "https://vault.azure.net"),
        // Azure Resource Manager takes no bound tokens: no fault is needed.
        ("", "https://management.azure.com"),
    ] {
        let mut config = Config::default();
        if !fault.is_empty() {
            config.faults.push(fault.parse()?);
        }
        let world = World::Emulator(Emulator::start(config)?);
        // A program that repeats by itself switches the client's own retries off.
        let client = world.client()?.retries(false).build()?;
        let token = client
            .pop_token(resource, KeyRequirements::attested())
            .await;
        let Err(error) = token else {
            return Err(format!("{fault} should have failed").into());
        };
        println!(
            "{fault} {resource}\n  {} at {}: {error}",
            error.kind().code(),
            error.stage()
        );
        println!(
            "  worth another try: {}; next: {}",
            error.is_retryable(),
            error.next_step()
        );
        if error.kind() == ErrorKind::ResourceTakesNoBoundTokens {
            println!("  (a bearer token is never given by itself)");
        }
    }
    Ok(())
}
