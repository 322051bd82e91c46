//! Judgements of what the host is: its source, its variables, its virtual machine, its strongest binding.
use crate::diagnosis::{Finding, Level, source_reason};
use keybound::capabilities::{Capabilities, OperatingSystem, SourceReason};
use keybound::{Error, ErrorKind, KeyStrength, Stage};
use keybound_core::Authority;
use std::io;

/// The source of tokens, and why it is the source. `connected` is whether the endpoint of another source than IMDS accepts
/// connections; `set` are the names of the variables that are set; `simulated` is whether `--simulated` chose it.
pub(super) fn source(
    found: &Capabilities,
    set: &[&'static str],
    connected: Option<io::Result<()>>,
    simulated: bool,
) -> Finding {
    let reason = source_reason(found.source_reason, simulated);
    let detail = format!("{}: {reason}", found.source);
    if let Some(error) = &found.source_error {
        let next_step = "turn on the managed identity of this host, correct the variable, or name another source (--source)";
        return Finding::failed(detail, error.clone()).with_next_step(next_step);
    }
    if let (SourceReason::Default, Some(half)) = (found.source_reason, half_set(set)) {
        return Finding::warning(format!("{detail}, but {half}"), HALF_SET);
    }
    match connected {
        None => Finding::ok(detail),
        Some(Ok(())) => Finding::ok(format!("{detail}; its endpoint accepts connections")),
        Some(Err(error)) => Finding::problem(
            format!("{detail}; no connection to its endpoint: {error}"),
            format!(
                "check that the service of {} runs, and that its variables name it: environment shows which are set",
                found.source
            ),
        ),
    }
}

/// A source sets several variables: some of them alone show no source.
pub(super) fn half_set(set: &[&'static str]) -> Option<&'static str> {
    let is_set = |name| set.contains(&name);
    let (endpoint, header) = (is_set("IDENTITY_ENDPOINT"), is_set("IDENTITY_HEADER"));
    match (endpoint, header) {
        (true, false) if !is_set("IMDS_ENDPOINT") => {
            Some("IDENTITY_ENDPOINT is set without IDENTITY_HEADER")
        }
        (false, true) => Some("IDENTITY_HEADER is set without IDENTITY_ENDPOINT"),
        _ if is_set("MSI_SECRET") && !is_set("MSI_ENDPOINT") => {
            Some("MSI_SECRET is set without MSI_ENDPOINT")
        }
        _ => None,
    }
}

/// Pods with AKS workload identity have no IMDS in general. For plain bearer tokens they need none, if the assertion is usable.
pub(super) fn with_workload_identity(imds: Finding, federated: Level, bearer: bool) -> Finding {
    let is_absent = imds.error.as_ref().is_some_and(|error| {
        matches!(
            error.kind(),
            ErrorKind::Unreachable | ErrorKind::DeadlineExceeded
        )
    });
    if federated == Level::Skipped || imds.level != Level::Problem {
        return imds;
    }
    let imds = imds.with_next_step(WORKLOAD_IDENTITY);
    match is_absent && bearer && federated == Level::Ok {
        true => imds.into_warning(),
        false => imds,
    }
}

/// The names of the variables that are set. `authority` is that of the environment, if it is used.
pub(super) fn environment(
    set: &[&'static str],
    v2_disabled: bool,
    authority: &keybound::Result<Authority>,
) -> Finding {
    let names = names_of(set);
    match (v2_disabled, authority) {
        (false, Ok(_)) => Finding::ok(names),
        (_, Err(error)) => Finding::warning(
            format!("AZURE_AUTHORITY_HOST is malformed: {error}; {names}"),
            "correct or unset AZURE_AUTHORITY_HOST, as in https://login.microsoftonline.us",
        ),
        (true, Ok(_)) => Finding::warning(
            format!("MSAL_MI_DISABLE_IMDS_V2 disables bound tokens; {names}"),
            "unset MSAL_MI_DISABLE_IMDS_V2 if you need bound tokens",
        ),
    }
}

/// A variable without which nothing can be checked.
pub(super) fn malformed_variable(reason: &str, set: &[&'static str]) -> Finding {
    Finding::problem(
        format!("{reason}; {}", names_of(set)),
        "correct or unset the variable, and run this command again",
    )
}

fn names_of(set: &[&'static str]) -> String {
    match set.is_empty() {
        true => "no variable that matters is set".to_owned(),
        false => format!("set: {}", set.join(", ")),
    }
}

/// The virtual machine, as IMDS describes it.
pub(super) fn machine(found: &Capabilities) -> Finding {
    if let Some(security) = &found.security {
        let name = security.security_type.as_ref();
        let name = name.map_or("no security type", |name| name.as_str());
        return Finding::ok(format!(
            "{}, {name}, Secure Boot {}, virtual TPM {}",
            found.operating_system.as_str(),
            on_or_off(security.secure_boot),
            on_or_off(security.virtual_tpm)
        ));
    }
    match &found.security_error {
        Some(error) => {
            let detail = "IMDS does not describe the virtual machine";
            let finding = Finding::failed(detail, error.clone()).into_warning();
            finding.with_next_step("nothing, if imds and binding are ok: they do not need it")
        }
        None if found.imds.is_none() => {
            Finding::skipped(format!("not known: the source is {}", found.source))
        }
        None => Finding::skipped("not asked: see imds"),
    }
}

/// The strongest binding of a token, compared with what is required.
pub(super) fn binding(
    found: &Capabilities,
    imds: &Finding,
    bearer: bool,
    required: KeyStrength,
) -> Finding {
    if bearer {
        return Finding::skipped("plain bearer tokens are bound to no key");
    }
    match imds.level {
        Level::Problem => return Finding::skipped("no token can be bound without IMDS v2"),
        Level::Warning => {
            return Finding::skipped("whether IMDS supports v2 is not known: see imds");
        }
        Level::Ok | Level::Skipped => {}
    }
    let Some(strongest) = found.strongest_binding else {
        return Finding::failed("no token can be bound to a key", why(found));
    };
    if strongest < required {
        let detail = format!("the strongest key is {strongest}, and {required} is required");
        let finding = Finding::failed(detail, why(found));
        return match found.operating_system {
            OperatingSystem::Windows => finding,
            _ => finding.with_next_step(WINDOWS_ONLY),
        };
    }
    match strongest {
        KeyStrength::KeyGuard if found.simulated_key => {
            Finding::ok("tokens can be bound to a simulated key in place of keyguard")
        }
        KeyStrength::KeyGuard => Finding::ok("tokens can be bound to a keyguard key"),
        weaker => Finding::warning(
            format!("tokens can be bound to a {weaker} key, if IMDS certifies it"),
            "IMDS may reject certificates for keys that are not attested KeyGuard keys: run keybound selftest",
        ),
    }
}

fn why(found: &Capabilities) -> Error {
    found.why_not_stronger.clone().unwrap_or_else(|| {
        let message = "the key is weaker than required";
        Error::new(ErrorKind::KeyTooWeak, Stage::Key, message)
    })
}

fn on_or_off(value: Option<bool>) -> &'static str {
    match value {
        Some(true) => "on",
        Some(false) => "off",
        None => "not known",
    }
}

const WORKLOAD_IDENTITY: &str = "AKS workload identity needs no IMDS: check it with keybound doctor --workload-identity --bearer, and use keybound get-token --workload-identity --bearer";
const HALF_SET: &str = "if this host has such a source, turn on its managed identity, which sets both, or name the source (--source); otherwise unset the variable";
const WINDOWS_ONLY: &str = "stronger keys need Windows: run on a Windows virtual machine with Trusted Launch, Secure Boot and virtual TPM, or request plain bearer tokens (--bearer); IMDS may reject weaker keys (--min-strength software --no-attestation)";
