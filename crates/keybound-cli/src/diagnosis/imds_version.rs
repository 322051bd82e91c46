use super::Finding;
use keybound::capabilities::{Capabilities, ImdsVersions};
use keybound::{Error, ErrorKind, Stage};

/// Judges the versions of IMDS: bound tokens need v2, plain bearer tokens v1.
pub(crate) fn imds_version(found: &Capabilities, bearer: bool) -> Finding {
    let Some(imds) = &found.imds else {
        return Finding::skipped(format!("not asked: the source is {}", found.source));
    };
    match bearer {
        true => v1(imds),
        false => v2(imds, found),
    }
}

fn v2(imds: &ImdsVersions, found: &Capabilities) -> Finding {
    if found.imds_v2_disabled {
        return Finding::failed(
            "no request for v2 is sent to IMDS",
            Error::new(
                ErrorKind::ImdsV2Disabled,
                Stage::Request,
                "managed identity v2 is disabled by MSAL_MI_DISABLE_IMDS_V2",
            ),
        );
    }
    match (imds.v2, imds.error.clone()) {
        (Some(true), _) => {
            Finding::ok("IMDS supports v2: HTTP 400 for a request without the Metadata header")
        }
        (Some(false), _) => {
            let why = found.why_not_stronger.clone();
            let why = why.unwrap_or_else(Error::imds_v2_unavailable);
            Finding::failed("IMDS does not support v2, only v1", why).without_error()
        }
        (None, Some(error)) => no_answer("the probe for IMDS v2 failed", error),
        (None, None) => Finding::skipped("IMDS was not asked"),
    }
}

fn v1(imds: &ImdsVersions) -> Finding {
    match (imds.v1, imds.error.clone()) {
        (Some(true), _) => Finding::ok("IMDS issues plain bearer tokens (v1)"),
        (_, Some(error)) => no_answer("the probe for IMDS v1 failed", error),
        (_, None) => Finding::failed(
            "IMDS does not support v1",
            Error::new(
                ErrorKind::NotImds,
                Stage::Source,
                "the server at the address of IMDS does not issue tokens",
            ),
        ),
    }
}

/// The probe failed. A host without IMDS is the usual reason if nothing responded.
fn no_answer(detail: &'static str, error: Error) -> Finding {
    match error.kind() {
        ErrorKind::Unreachable | ErrorKind::DeadlineExceeded => {
            Finding::failed("IMDS does not respond", error).with_next_step(NO_IMDS)
        }
        ErrorKind::NotImds => {
            let detail = "another server responds at the address of IMDS";
            Finding::failed(detail, error).with_next_step(NOT_IMDS)
        }
        _ => Finding::failed(detail, error),
    }
}

const NOT_IMDS: &str = "find what intercepts the address of IMDS: a proxy, a firewall or a captive portal; check --imds and AZURE_POD_IDENTITY_AUTHORITY_HOST if one of them is set";
const NO_IMDS: &str = "run on an Azure virtual machine, a container there with host networking; check firewalls and --imds";
