//! Diagnostics of this host, step by step, in a report without secrets: on a real VM or with the emulator.
mod checks;
mod flow;
mod key_providers;
mod report;
mod request_summary;
mod resource;
#[cfg(test)]
mod tests;

use crate::args::{SelftestArgs, SelftestOutput};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::run_to_end;
use crate::{json, out, steps};
use checks::Checks;
use report::Report;

/// Runs all steps, prints the result of each, and succeeds only if none failed.
pub(crate) fn run(args: &SelftestArgs) -> Result<Exit, Failure> {
    let steps = steps::log(args.verbose, "keybound");
    let checks = Checks::new(args, steps)?;
    let steps = run_to_end(checks.run())?;
    let report = Report::new(args, checks.request_summary(), steps);
    match args.output {
        SelftestOutput::Text => out::line(&report.text())?,
        SelftestOutput::Json => out::line(&json::document(&report)?)?,
    }
    Ok(match report.ok() {
        true => Exit::Success,
        false => Exit::Failed,
    })
}
