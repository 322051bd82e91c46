//! Judgements of what the host is: its source, its variables, its virtual machine, its strongest binding.
use crate::diagnosis::{Finding, Level};
use keybound::capabilities::Capabilities;
use keybound::{Error, ErrorKind, KeyStrength, Stage};

/// The source of tokens, and why it is the source.
pub(super) fn source(found: &Capabilities) -> Finding {
    let detail = format!("{}: {}", found.source, found.source_reason);
    match &found.source_error {
        None => Finding::ok(detail),
        Some(error) => Finding::failed(detail, error.clone()),
    }
}

/// The names of the variables that are set.
pub(super) fn environment(set: &[&'static str], v2_disabled: bool) -> Finding {
    let detail = match set.is_empty() {
        true => "no variable that matters is set".to_owned(),
        false => format!("set: {}", set.join(", ")),
    };
    match v2_disabled {
        false => Finding::ok(detail),
        true => Finding::warning(
            format!("{detail}; MSAL_MI_DISABLE_IMDS_V2 disables bound tokens"),
            "unset MSAL_MI_DISABLE_IMDS_V2 if you need bound tokens",
        ),
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
            Finding::failed(detail, error.clone()).into_warning()
        }
        None => Finding::skipped("IMDS did not respond, or is not the source"),
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
    if imds.level == Level::Problem {
        return Finding::skipped("no token can be bound without IMDS v2");
    }
    let Some(strongest) = found.strongest_binding else {
        return Finding::failed("no token can be bound to a key", why(found));
    };
    if strongest < required {
        let detail = format!("the strongest key is {strongest}, and {required} is required");
        return Finding::failed(detail, why(found));
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
