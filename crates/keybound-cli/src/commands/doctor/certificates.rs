//! The judgement of stored certificates.
use crate::diagnosis::{Finding, Level, Lifetime};
use crate::text::rfc3339;
use keybound::store::{StoredCertificate, StoredState};
use keybound::{Attestation, Clock as _, Result, SystemClock};
use std::cmp::Reverse;
use std::time::SystemTime;

/// The stored certificates of the request; the worst state counts. `None` if none are stored here.
pub(super) fn judge(stored: &Result<Option<Vec<StoredCertificate>>>, bearer: bool) -> Finding {
    let now = SystemClock.now();
    match stored.as_ref().map(Option::as_deref) {
        _ if bearer => Finding::skipped("plain bearer tokens need no certificate"),
        Err(error) => {
            let finding = Finding::failed("the stored certificates cannot be read", error.clone());
            let next_step = "look for what blocks the certificate store of this account (certmgr.msc); each process requests a certificate of its own meanwhile";
            finding.into_warning().with_next_step(next_step)
        }
        Ok(None) => Finding::skipped(NO_STORE),
        Ok(Some([])) => Finding::ok("none is stored: the next request gets one"),
        Ok(Some(stored)) => worst(stored.iter().map(|stored| {
            let lifetime = Lifetime::of(&stored.binding.certificate);
            of(stored.state, &lifetime, now)
        })),
    }
}

/// Those that a request for this attestation can use: another request's may be stale for good.
pub(super) fn of_request(
    mut stored: Vec<StoredCertificate>,
    attestation: Attestation,
    key_name: Option<&str>,
) -> Vec<StoredCertificate> {
    let is_usable = |stored: &StoredCertificate| {
        let names_key = key_name.is_none_or(|name| stored.binding.key_name == name);
        stored.attestation == attestation && names_key
    };
    stored.retain(is_usable);
    // Of those with the same level the last one is shown: the one that ends first.
    stored.sort_by_key(|stored| Reverse(stored.binding.certificate.effective_not_after()));
    stored
}

/// The worst of several findings.
pub(super) fn worst(findings: impl ExactSizeIterator<Item = Finding>) -> Finding {
    let count = findings.len();
    match findings.max_by_key(|finding| finding.level) {
        Some(worst) if worst.level == Level::Ok && count > 1 => {
            Finding::ok(format!("{count} are stored; {}", worst.detail))
        }
        Some(worst) => worst,
        None => Finding::skipped(NO_STORE),
    }
}

/// The finding for a certificate with this state and lifetime.
pub(super) fn of(state: StoredState, lifetime: &Lifetime, now: SystemTime) -> Finding {
    let left = lifetime.left(now);
    match state {
        StoredState::Usable => Finding::ok(format!("the stored certificate is {left}")),
        StoredState::Stale => Finding::warning(
            format!("the stored certificate is due for renewal: {left}"),
            "nothing: the next request renews it; if it remains, run keybound get-token",
        ),
        StoredState::Expired => Finding::warning(
            format!("the stored certificate is stale: {left}"),
            "nothing: the next request replaces it; if it remains, run keybound get-token",
        ),
        StoredState::NotYetValid => Finding::problem(
            format!(
                "the stored certificate is valid from {}, later than this host's clock",
                rfc3339(lifetime.start)
            ),
            "set the clock of this host",
        ),
        _ => Finding::warning(
            "a stored certificate was not issued by IMDS, or is valid for too long: it is not used",
            "find out which program added it, and remove it (certmgr.msc, Personal)",
        ),
    }
}

const NO_STORE: &str = match cfg!(windows) {
    true => "none stored: IMDS is on loopback, or the store is off",
    false => "certificates are stored on Windows only",
};
