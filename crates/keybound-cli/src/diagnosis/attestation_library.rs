use super::{Finding, run_blocking};
use crate::args::HostArgs;
use crate::session;
use crate::text::printable_line;
use keybound::Stage;
use keybound::attestation::native::{LibraryTrust, ProbedLibrary};
use std::time::Duration;

/// Probes the native attestation library, if keys are to be attested by it.
pub(crate) async fn attestation_library(args: &HostArgs, limit: Duration) -> Finding {
    if args.no_attestation {
        return Finding::skipped("attestation was not requested");
    }
    if args.simulated {
        return Finding::skipped("attestation is simulated");
    }
    if !cfg!(windows) {
        return Finding::skipped("keys are attested on Windows only");
    }
    let native = session::native_attestation(&args.library);
    let probe = run_blocking(Stage::Attestation, limit, move || {
        native.probe_within(limit)
    });
    match probe.await {
        Ok(probe) => {
            let detail = detail(probe.library.as_ref());
            match probe.failure {
                None => Finding::ok(detail),
                Some(error) => Finding::failed(detail, error),
            }
        }
        Err(error) => Finding::failed("the library did not return in time", error),
    }
}

fn detail(library: Option<&ProbedLibrary>) -> String {
    let Some(library) = library else {
        return "no usable attestation library".to_owned();
    };
    let trust = match &library.trust {
        Some(LibraryTrust::SignedBy(signer)) => format!("signed by {}", printable_line(signer)),
        Some(_) => "pinned by its SHA-256".to_owned(),
        None => "not trusted".to_owned(),
    };
    let state = match (library.loaded, library.started) {
        (_, true) => "loaded and started",
        (true, false) => "loaded, not started",
        (false, false) => "not loaded",
    };
    let hash = library.sha256.iter().map(|byte| format!("{byte:02x}"));
    format!("{trust}, {state}, SHA-256 {}", hash.collect::<String>())
}
