//! What this host can do, without a key and a token.
mod report;

use crate::args::CapabilitiesArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::{self, run_to_end};
use crate::{json, out, steps};
use keybound::ManagedIdentityClient;
use report::Report;
use std::sync::Arc;

/// Prints the capabilities of this host.
pub(crate) fn run(args: &CapabilitiesArgs) -> Result<Exit, Failure> {
    let _steps = steps::log(args.verbose, "keybound");
    let client = client(args)?;
    let found = run_to_end(client.capabilities_within(args.timeout))?;
    let report = Report::new(&found);
    match args.json {
        true => out::line(&json::document(&report)?)?,
        false => out::line(&report.text())?,
    }
    Ok(Exit::Success)
}

fn client(args: &CapabilitiesArgs) -> Result<ManagedIdentityClient, Failure> {
    let mut builder = ManagedIdentityClient::builder();
    if let Some(url) = args.imds.as_deref().filter(|url| !url.is_empty()) {
        builder = builder.imds_endpoint(url);
    }
    if let Some(source) = args.source {
        builder = builder.managed_identity_source(source.into());
    }
    if args.library.is_set() {
        builder = builder.attestation(Arc::new(session::native_attestation(&args.library)));
    }
    builder.build().map_err(Failure::before_work)
}
