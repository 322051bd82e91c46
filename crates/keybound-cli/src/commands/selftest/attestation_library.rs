use super::checks::Checks;
use super::report::StepResult;
use crate::session;
use crate::text::printable_line;
use keybound::Stage;
use keybound::attestation::native::{LibraryTrust, ProbedLibrary};

impl Checks<'_> {
    /// Probes the native attestation library.
    pub(super) async fn attestation_library(&self) -> StepResult {
        const NAME: &str = "attestation_library";
        if self.args.host.no_attestation {
            return StepResult::skipped(NAME, "attestation was not requested");
        }
        if self.args.host.simulated {
            return StepResult::skipped(NAME, "attestation is simulated");
        }
        let native = session::native_attestation(&self.args.host.library);
        let probe = self.run_blocking(Stage::Attestation, move || native.probe());
        match probe.await {
            Ok(probe) => {
                let detail = detail(probe.library.as_ref());
                match probe.failure {
                    None => StepResult::ok(NAME, detail),
                    Some(error) => StepResult::failed(NAME, detail, Some(error)),
                }
            }
            Err(error) => {
                StepResult::failed(NAME, "the library did not return in time", Some(error))
            }
        }
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
