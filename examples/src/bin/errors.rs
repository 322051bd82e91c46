//! Injects faults into the emulator and prints the resulting errors, with what a program can do about them.
//!
//! `cargo run --package keybound-examples --bin errors`
#![expect(clippy::print_stdout, reason = "an example prints its results")]
use keybound::{ErrorKind, KeyRequirements};
use keybound_emulator::{Config, Emulator};
use keybound_examples::Platform;
use std::error::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    for (fault, resource) in [
        ("metadata=status:404", "https://vault.azure.net"),
        ("issue=certificate:other-key", "https://vault.azure.net"),
        ("token=token-type:Bearer", "https://vault.azure.net"),
        ("token=status:503", "https://vault.azure.net"),
        // Azure Resource Manager does not accept bound tokens: no fault is needed.
        ("", "https://management.azure.com"),
    ] {
        let mut config = Config::default();
        if !fault.is_empty() {
            config.faults.push(fault.parse()?);
        }
        let platform = Platform::Emulator(Emulator::start(config)?);
        // A program with its own retries disables those of the client.
        let client = platform.client()?.retries(false).build()?;
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
            "  retryable: {}; next step: {}",
            error.is_retryable(),
            error.next_step()
        );
        if error.kind() == ErrorKind::BoundTokensNotAccepted {
            println!("  (there is no fallback to bearer tokens)");
        }
    }
    Ok(())
}
