//! What `doctor` and `selftest` share: checks of this host, what they found, and the removal of secrets and ids from it.
mod attestation_library;
mod conceal;
mod finding;
pub(crate) mod host;
mod imds_version;
mod lifetime;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use attestation_library::attestation_library;
pub(crate) use conceal::Conceal;
pub(crate) use finding::{Finding, Level};
pub(crate) use imds_version::imds_version;
pub(crate) use lifetime::Lifetime;

use keybound::capabilities::SourceReason;

/// The reason for the source, with the option that chose it: `--source`, unless keys are `simulated` without one.
pub(crate) fn source_reason(reason: SourceReason, simulated: bool) -> String {
    match reason {
        SourceReason::Chosen if simulated => "chosen by --simulated".to_owned(),
        SourceReason::Chosen => "chosen by --source".to_owned(),
        SourceReason::ImdsEndpoint => "address from --imds".to_owned(),
        reason => reason.to_string(),
    }
}

/// Runs blocking work on another thread for as long as `limit`.
///
/// # Errors
/// [`DeadlineExceeded`](keybound::ErrorKind::DeadlineExceeded) after that; the work continues and is not waited for.
pub(crate) async fn run_blocking<T: Send + 'static>(
    stage: keybound::Stage,
    limit: std::time::Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, keybound::Error> {
    use keybound::{Error, ErrorKind};
    match tokio::time::timeout(limit, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(panicked)) => {
            Err(Error::new(ErrorKind::KeyFailed, stage, "the step panicked").with_source(panicked))
        }
        Err(_) => Err(Error::new(
            ErrorKind::DeadlineExceeded,
            stage,
            "the step did not end before the deadline",
        )),
    }
}
