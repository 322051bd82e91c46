//! The clock of this host.
use super::super::clock::{self, ServiceTime};
use super::assert_finding;
use crate::diagnosis::Level;
use std::time::{Duration, SystemTime};

#[test]
fn judges_the_largest_clock_difference() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let at = |service, seconds: i64| ServiceTime {
        service,
        date: now,
        received: match seconds < 0 {
            true => now - Duration::from_secs(seconds.unsigned_abs()),
            false => now + Duration::from_secs(seconds.unsigned_abs()),
        },
    };
    for (imds, token_endpoint, level, part) in [
        (None, None, Level::Skipped, "no service"),
        (Some(0), None, Level::Ok, "agrees with IMDS"),
        (Some(29), Some(-29), Level::Ok, "within 30 s"),
        (Some(30), Some(30), Level::Warning, "30 s ahead of"),
        (
            Some(-90),
            Some(-91),
            Level::Warning,
            "1 min 31 s behind Entra",
        ),
        (
            Some(0),
            Some(30),
            Level::Warning,
            "30 s ahead of Entra, and 0 s ahead of IMDS: they disagree",
        ),
        (
            Some(-90_000),
            Some(2),
            Level::Warning,
            "1 d 1 h behind IMDS, and 2 s ahead of Entra: they disagree",
        ),
        (Some(-1000), Some(1000), Level::Problem, "they disagree"),
        (None, Some(-299), Level::Warning, "4 min 59 s behind Entra"),
        (Some(300), None, Level::Problem, "5 min 0 s ahead of IMDS"),
        (
            None,
            Some(-1_700_000_000),
            Level::Problem,
            "19675 d 22 h behind",
        ),
    ] {
        let imds = imds.map(|seconds| at("IMDS", seconds));
        let token_endpoint = token_endpoint.map(|seconds| at("Entra", seconds));
        let finding = clock::judge(imds.into_iter().chain(token_endpoint));
        assert_finding(&finding, level, part);
    }
}

#[test]
fn reads_valid_dates_only() {
    for (date, is_valid) in [
        ("Sun, 06 Nov 1994 08:49:37 GMT", true),
        ("today", false),
        ("", false),
        ("Sun, 06 Nov 1994 08:49:37 GMT\u{e9}", false),
    ] {
        let mut headers = http::HeaderMap::new();
        headers.insert(http::header::DATE, date.parse().unwrap());
        assert_eq!(ServiceTime::of("x", &headers).is_some(), is_valid, "{date}");
    }
    assert!(ServiceTime::of("x", &http::HeaderMap::new()).is_none());
    for (server, is_imds) in [("IMDS/150.870.65.1854", true), ("nginx", false)] {
        let mut headers = http::HeaderMap::new();
        let date = "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap();
        headers.insert(http::header::DATE, date);
        assert!(ServiceTime::of_imds(&headers).is_none());
        headers.insert(http::header::SERVER, server.parse().unwrap());
        assert_eq!(
            ServiceTime::of_imds(&headers).is_some(),
            is_imds,
            "{server}"
        );
    }
}
