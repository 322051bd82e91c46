//! Stored certificates.
use super::super::certificates;
use super::{assert_finding, key, report, stale};
use crate::diagnosis::testing::MemoryStore;
use crate::diagnosis::{Level, Lifetime};
use keybound::store::{BindingCacheKey, BindingStore as _};
use keybound::{Attestation, Error, ErrorKind, Stage};
use keybound_emulator::{Config, Emulator};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

#[test]
fn judges_stored_certificates_by_the_worst() {
    use keybound::store::StoredState::{Expired, Implausible, NotYetValid, Stale, Usable};
    let late = || {
        Err(Error::new(
            ErrorKind::DeadlineExceeded,
            Stage::Credential,
            "late",
        ))
    };
    for (stored, bearer, level, part) in [
        (Ok(None), false, Level::Skipped, ""),
        (Ok(Some(Vec::new())), false, Level::Ok, "none"),
        (Ok(Some(Vec::new())), true, Level::Skipped, ""),
        (late(), false, Level::Warning, "cannot be read"),
        (late(), true, Level::Skipped, ""),
    ] {
        assert_finding(&certificates::judge(&stored, bearer), level, part);
    }
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    for (states, level, part) in [
        (
            &[Usable][..],
            Level::Ok,
            "is valid for 13 d 0 h, for new tokens for 6 d 0 h",
        ),
        (&[Usable, Usable], Level::Ok, "2 are stored"),
        (
            &[Usable, Stale],
            Level::Warning,
            "due for renewal: valid for",
        ),
        (
            &[Expired, Usable],
            Level::Warning,
            "stale: valid for 6 d 0 h, but for new tokens until 2027-01-14",
        ),
        (&[Usable, Implausible], Level::Warning, "not issued by IMDS"),
        (
            &[NotYetValid, Stale],
            Level::Problem,
            "later than this host's clock",
        ),
    ] {
        let judged = states
            .iter()
            .map(|state| certificates::of(*state, &lifetime(*state, now), now));
        let finding = certificates::worst(judged);
        assert_finding(&finding, level, part);
    }

    fn lifetime(state: keybound::store::StoredState, now: SystemTime) -> Lifetime {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        let start = match state {
            NotYetValid => now + DAY,
            Expired => now - 8 * DAY,
            _ => now - DAY,
        };
        Lifetime {
            start,
            tokens_until: Some(start + 7 * DAY),
            end: start + 14 * DAY,
        }
    }
}

/// Certificates of other requests may be stale for good.
#[test]
fn ignores_stored_certificates_of_other_requests() {
    let emulator = Emulator::start(Config::default()).unwrap();
    for (attestation, flags, level) in [
        (Attestation::Simulated, &[][..], "warning"),
        (Attestation::Attested, &[], "ok"),
        (Attestation::None, &[], "ok"),
        (Attestation::None, &["--no-attestation"], "warning"),
        (Attestation::Simulated, &["--no-attestation"], "ok"),
    ] {
        let store = Arc::new(MemoryStore::default());
        let key = BindingCacheKey {
            attestation,
            ..key()
        };
        store.save(&key, &stale(emulator.ready().sts.as_str()));
        let report = serde_json::to_value(report(&emulator, &store, flags)).unwrap();
        let check = report["checks"].as_array().unwrap().iter();
        let mut check = check.filter(|check| check["check"] == "certificates");
        assert_eq!(
            check.next().unwrap()["result"],
            level,
            "{attestation:?} {flags:?}"
        );
    }
}
