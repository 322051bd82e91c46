//! The next step of an error, with the option of this program: the library does not name options.
use keybound::{Error, ErrorKind};

/// The next step, with the option in brackets, if any.
pub(crate) fn next_step(error: &Error) -> String {
    match option(error.kind()) {
        Some(option) => format!("{} ({option})", error.next_step()),
        None => error.next_step().to_owned(),
    }
}

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
    use keybound::Stage;

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
        let late = Error::new(ErrorKind::DeadlineExceeded, Stage::Token, "late");
        assert!(next_step(&late).ends_with(" (--timeout)"));
    }
}
