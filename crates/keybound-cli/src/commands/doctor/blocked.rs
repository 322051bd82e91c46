//! A malformed variable, which keeps all other checks from running.
use super::examination::{CHECKS, Check};
use super::host;
use super::variables::Variables;
use crate::args::DoctorArgs;
use crate::diagnosis::Finding;
use crate::failure::Failure;

/// The checks if a malformed variable keeps all others from running.
///
/// # Errors
/// The failure, if a variable is not its reason.
pub(super) fn blocked_by_variable(
    args: &DoctorArgs,
    failure: Failure,
    variables: &Variables,
) -> Result<Vec<Check>, Failure> {
    let reason = match failure {
        Failure::Usage(reason) if names_variable(args, &reason) => variables.mask(&reason),
        failure => return Err(failure),
    };
    let check = |name| Check {
        name,
        finding: match name {
            "environment" => host::malformed_variable(&reason, variables.names()),
            _ => Finding::skipped("not checked: see environment"),
        },
        elapsed: None,
    };
    Ok(CHECKS.into_iter().map(check).collect())
}

/// Whether a malformed value is that of a variable, and not of the option for the same.
fn names_variable(args: &DoctorArgs, reason: &str) -> bool {
    let imds = args.host.imds().is_none() && reason.contains("AZURE_POD_IDENTITY_AUTHORITY_HOST");
    imds || reason.starts_with("KEYBOUND_CA_FILE ")
}
