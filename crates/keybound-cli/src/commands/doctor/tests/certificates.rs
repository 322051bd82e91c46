//! Stored certificates.
use super::super::certificates;
use super::{assert_finding, key, report, stale};
use crate::diagnosis::Level;
use crate::diagnosis::testing::MemoryStore;
use keybound::store::{BindingCacheKey, BindingStore as _};
use keybound::{Attestation, Error, ErrorKind, Stage};
use keybound_emulator::{Config, Emulator};
use std::ops::Range;
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
        (&[Usable][..], Level::Ok, "valid for 6 d 0 h"),
        (&[Usable, Usable], Level::Ok, "2 are stored"),
        (
            &[Usable, Stale],
            Level::Warning,
            "due for renewal: valid for",
        ),
        (&[Expired, Usable], Level::Warning, "stale: expired at 2027"),
        (&[Usable, Implausible], Level::Warning, "not issued by IMDS"),
        (
            &[NotYetValid, Stale],
            Level::Problem,
            "later than this host's clock",
        ),
    ] {
        let judged = states
            .iter()
            .map(|state| certificates::of(*state, validity(*state, now), now));
        let finding = certificates::worst(judged);
        assert_finding(&finding, level, part);
    }

    fn validity(state: keybound::store::StoredState, now: SystemTime) -> Range<SystemTime> {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        match state {
            NotYetValid => now + DAY..now + 7 * DAY,
            Expired => now - 7 * DAY..now - DAY,
            _ => now - DAY..now + 6 * DAY,
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
