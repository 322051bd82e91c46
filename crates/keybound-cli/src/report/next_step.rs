//! The next step of an error, with the option of this program: the library does not name options.
use keybound::{Error, ErrorKind, Stage};

/// The next step, with the option in brackets, if any.
pub(crate) fn next_step(error: &Error) -> String {
    let codes = error.service().map_or(&[][..], |service| &service.codes);
    if error.stage() == Stage::Exchange && codes.iter().any(|code| UNKNOWN_APP.contains(code)) {
        return "Entra does not know the app registration or its tenant: check --app-id, --tenant and --cloud, or the variables of AKS workload identity".to_owned();
    }
    match option(error.kind()) {
        Some(option) => format!("{} ({option})", error.next_step()),
        None => error.next_step().to_owned(),
    }
}

/// Errors of Entra: no such application in the tenant, no such tenant.
const UNKNOWN_APP: [u64; 2] = [700_016, 90_002];

fn option(kind: ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::NotImds => "--imds",
        ErrorKind::DeadlineExceeded => "--timeout",
        ErrorKind::KeyUnavailable | ErrorKind::KeyTooWeak | ErrorKind::KeyIsolationUnavailable => {
            "--min-strength"
        }
        ErrorKind::AttestationUnavailable => "--no-attestation",
        ErrorKind::AttestationLibraryUnusable => "keybound attestation probe",
        ErrorKind::SimulatedNotAllowed => "keybound emulator --exec",
        ErrorKind::IdentityNotFound | ErrorKind::IdentityUnsupported => {
            "--client-id, --object-id, --resource-id"
        }
        ErrorKind::ServerCertificateInvalid => "--ca-file",
        ErrorKind::SourceUnsupported
        | ErrorKind::BoundTokensNotAccepted
        | ErrorKind::TenantNotEligible => "--bearer",
        ErrorKind::ClientCertificateNotRequested => "--tls HOST=1.2, --resource",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use keybound::ServiceError;

    #[test]
    fn options_exist_and_the_library_names_none() {
        let help = std::fs::read_to_string(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/transcripts/help-get-token.txt"
        ));
        let help = help.unwrap();
        for kind in ErrorKind::ALL {
            let step = kind.next_step();
            assert!(!step.contains("--"), "{}: {step}", kind.code());
            assert!(!step.contains("::"), "{}: {step}", kind.code());
            let options = option(*kind).unwrap_or_default().split(", ");
            for option in options.filter(|option| option.starts_with("--")) {
                let option = option.split(' ').next().unwrap();
                assert!(help.contains(option), "{option}");
            }
        }
        let mut refused = ServiceError::default();
        refused.codes = vec![700_016];
        for (stage, names_app) in [(Stage::Exchange, true), (Stage::Token, false)] {
            let error = Error::new(ErrorKind::Refused, stage, "refused");
            let error = error.with_service(Some(refused.clone()));
            assert_eq!(next_step(&error).contains("--app-id"), names_app);
        }
        let late = Error::new(ErrorKind::DeadlineExceeded, Stage::Token, "late");
        assert!(next_step(&late).ends_with(" (--timeout)"));
    }
}
