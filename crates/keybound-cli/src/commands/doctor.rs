//! Why tokens work on this host, or do not, at a glance. Creates no key, requests no token, and changes nothing on the host.
mod blocked;
mod certificates;
mod clock;
mod columns;
mod examination;
mod federated;
mod host;
mod progress;
mod proxies;
mod rejected_server;
mod report;
mod target;
#[cfg(test)]
mod tests;
mod token_endpoint;
mod variables;

use crate::args::DoctorArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::run_to_end;
use crate::signals::{Received, Signals};
use crate::{json, out, signals, steps};
use examination::{Check, Examination};
use report::Report;
use variables::Variables;

/// Runs all checks, prints what they found, and succeeds unless one found a problem. A signal ends it without a report.
pub(crate) fn run(args: &DoctorArgs) -> Result<Exit, Failure> {
    let _steps = steps::log(args.verbose, "keybound");
    let report = match Examination::new(args) {
        Ok(examination) => {
            let checks = match run_to_end(run_or_stop(&examination))?? {
                End::Checked(checks) => checks,
                End::Stopped(received) => return Ok(Exit::Stopped(received)),
            };
            Report::new(args, checks, examination.variables())
        }
        Err(failure) => {
            let variables = Variables::of_process();
            let checks = blocked::blocked_by_variable(args, failure, &variables)?;
            Report::new(args, checks, &variables)
        }
    };
    match args.json {
        true => out::line(&json::document(&report)?)?,
        false => out::styled_line(&report.text())?,
    }
    Ok(match report.is_ok() {
        true => Exit::Success,
        false => Exit::Failed,
    })
}

/// How the checks ended.
enum End {
    Checked(Vec<Check>),
    Stopped(Received),
}

/// The checks are dropped by a signal, which removes the line of their progress from the terminal.
async fn run_or_stop(examination: &Examination<'_>) -> Result<End, Failure> {
    let mut signals = Signals::ending().map_err(signals::failure)?;
    Ok(tokio::select! {
        checks = examination.run() => End::Checked(checks),
        received = signals.next() => End::Stopped(received),
    })
}
