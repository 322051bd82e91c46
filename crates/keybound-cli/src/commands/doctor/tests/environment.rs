//! Variables: their names, their values, and what they select.
use super::super::host;
use super::super::variables::Variables;
use super::assert_finding;
use crate::diagnosis::{Finding, Level};
use keybound::{Error, ErrorKind, Stage};
use keybound_core::{Authority, Cloud};

#[test]
fn finds_pairs_of_variables_of_which_one_is_missing() {
    for (set, half) in [
        (&[][..], None),
        (&["IDENTITY_ENDPOINT"], Some("without IDENTITY_HEADER")),
        (&["IDENTITY_HEADER"], Some("without IDENTITY_ENDPOINT")),
        (&["MSI_SECRET"], Some("without MSI_ENDPOINT")),
        (&["IDENTITY_ENDPOINT", "IDENTITY_HEADER"], None),
        (&["IDENTITY_ENDPOINT", "IMDS_ENDPOINT"], None),
        (&["MSI_ENDPOINT"], None),
        (&["MSI_ENDPOINT", "MSI_SECRET"], None),
    ] {
        match (host::half_set(set), half) {
            (Some(found), Some(part)) => assert!(found.contains(part), "{found}"),
            (found, half) => assert_eq!(found, half, "{set:?}"),
        }
    }
}

#[test]
fn names_variables_and_warns_of_the_switch() {
    let known = || Ok(Authority::of_cloud(Cloud::Public));
    let malformed = || Authority::parse("http://swordfish");
    for (set, disabled, authority, level, part) in [
        (&[][..], false, known(), Level::Ok, "no variable"),
        (&["A", "B"], false, known(), Level::Ok, "set: A, B"),
        (
            &["A"],
            true,
            known(),
            Level::Warning,
            "disables bound tokens",
        ),
        (
            &["A"],
            false,
            malformed(),
            Level::Warning,
            "AZURE_AUTHORITY_HOST is malformed: the authority is not https",
        ),
    ] {
        let finding = host::environment(set, disabled, &authority);
        assert_finding(&finding, level, part);
        assert!(!finding.detail.contains("swordfish"));
    }
}

/// A pod without IMDS is healthy if the assertion is, for bearer tokens.
#[test]
fn imds_may_be_absent_with_workload_identity() {
    let problem = |kind| Finding::failed("why", Error::new(kind, Stage::Metadata, "why"));
    let absent = || problem(ErrorKind::Unreachable);
    for (finding, federated, bearer, level, names_option) in [
        (absent(), Level::Ok, true, Level::Warning, true),
        (absent(), Level::Ok, false, Level::Problem, true),
        (absent(), Level::Warning, true, Level::Problem, true),
        (absent(), Level::Skipped, true, Level::Problem, false),
        (
            problem(ErrorKind::NotImds),
            Level::Ok,
            true,
            Level::Problem,
            true,
        ),
        (Finding::ok("why"), Level::Ok, true, Level::Ok, false),
    ] {
        let finding = host::with_workload_identity(finding, federated, bearer);
        assert_finding(&finding, level, "why");
        let next_step = finding.next_step.unwrap_or_default();
        assert_eq!(
            next_step.contains("--workload-identity"),
            names_option,
            "{next_step}"
        );
    }
}

#[test]
fn masks_values_of_variables() {
    let value = |name: &str| {
        let value = match name {
            "AZURE_POD_IDENTITY_AUTHORITY_HOST" => "http://127.0.0.1:40342/",
            "HTTPS_PROXY" => "user:sword%66ish@proxy.example:3128",
            "HTTP_PROXY" => "swordfish.example",
            "ALL_PROXY" => "proxy",
            "IDENTITY_HEADER" => "swordfish",
            "MSAL_MI_DISABLE_IMDS_V2" => "true",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let library = [
        "ALL_PROXY",
        "AZURE_POD_IDENTITY_AUTHORITY_HOST",
        "HTTPS_PROXY",
        "IDENTITY_HEADER",
        "MSAL_MI_DISABLE_IMDS_V2",
    ];
    let variables = Variables::new(library, value);
    assert_eq!(
        variables.names(),
        [
            "ALL_PROXY",
            "AZURE_POD_IDENTITY_AUTHORITY_HOST",
            "HTTPS_PROXY",
            "HTTP_PROXY",
            "IDENTITY_HEADER",
            "MSAL_MI_DISABLE_IMDS_V2"
        ]
    );
    for (text, masked) in [
        (
            "no connection to 127.0.0.1:40342: refused",
            "no connection to [AZURE_POD_IDENTITY_AUTHORITY_HOST]: refused",
        ),
        (
            "the proxy proxy.example:3128 has no address",
            "the proxy [HTTPS_PROXY] has no address",
        ),
        ("swordfish.example:80", "[HTTP_PROXY]"),
        ("sent swordfish", "sent [IDENTITY_HEADER]"),
        ("it is true", "it is true"),
        ("swordfish.example is unknown", "[HTTP_PROXY] is unknown"),
        ("swordfishes", "swordfishes"),
        (
            "the proxy proxy:80 has none",
            "the proxy [ALL_PROXY] has none",
        ),
    ] {
        assert_eq!(variables.mask(text), masked);
    }
    let empty = |name: &str| name.ends_with("_PROXY").then(|| " ".to_owned());
    let variables = Variables::new(["HTTPS_PROXY", "ALL_PROXY"], empty);
    assert_eq!(variables.names(), [""; 0], "empty values count as absent");
}
