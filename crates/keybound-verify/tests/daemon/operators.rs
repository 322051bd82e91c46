//! What operators get.
use crate::fixture::{Fixture, case, connect_unix, get, status, subrequest};
use crate::support::runtime;
use keybound_resource::{Clock, VerifierBuilder};
use keybound_testing::attacks::fixed_now;
use keybound_verify::DecisionLog;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{Duration, UNIX_EPOCH};

#[test]
fn operators_get_health_readiness_and_metrics() {
    runtime().block_on(async {
        let fixture = Fixture::new();
        let daemon = fixture.start(DecisionLog::none()).await.unwrap();
        for (method, target, expected) in [
            ("GET", "/healthz", 200),
            ("GET", "/readyz", 200),
            ("GET", "/metrics", 200),
            ("HEAD", "/healthz", 200),
            ("HEAD", "/readyz", 200),
            ("HEAD", "/reload", 405),
            ("POST", "/metrics", 405),
            ("GET", "/reload", 405),
            ("GET", "/", 404),
            ("GET", "/orders", 404),
        ] {
            let (status, _) = get(&fixture.admin(), method, target).await;
            assert_eq!(status, expected, "{method} {target}");
        }
        let mut sender = connect_unix(&fixture.socket()).await;
        for (name, host) in [
            ("version-2", "orders.contoso.com"),
            ("no-certificate", "orders.contoso.com"),
            ("version-2", "other.contoso.com"),
            ("version-2", "orders.contoso.com@other"),
        ] {
            status(&mut sender, subrequest(&case(name), host)).await;
        }
        let (_, metrics) = get(&fixture.admin(), "GET", "/metrics").await;
        for line in [
            "# TYPE keybound_verify_decisions_total counter",
            "keybound_verify_decisions_total{api=\"orders.contoso.com\",outcome=\"allowed\",reason=\"\"} 1",
            "keybound_verify_decisions_total{api=\"orders.contoso.com\",outcome=\"denied\",reason=\"certificate_missing\"} 1",
            "keybound_verify_unknown_host_total 2",
            "keybound_verify_duration_seconds_bucket{api=\"orders.contoso.com\",le=\"+Inf\"} 2",
            "keybound_verify_duration_seconds_count{api=\"orders.contoso.com\"} 2",
            "keybound_verify_ready{api=\"orders.contoso.com\"} 1",
            "keybound_verify_clock_step_seconds 0",
        ] {
            assert!(metrics.lines().any(|found| found == line), "{line}:\n{metrics}");
        }
        daemon.stop(Duration::ZERO).await;
    });
}

#[test]
fn lookups_in_the_cache_are_counted_across_a_reload() {
    runtime().block_on(async {
        let fixture = Fixture::new();
        let daemon = fixture.start(DecisionLog::none()).await.unwrap();
        let mut sender = connect_unix(&fixture.socket()).await;
        for requests in 1..=2 {
            for _ in 0..3 {
                let request = subrequest(&case("version-2"), "orders.contoso.com");
                assert_eq!(status(&mut sender, request).await.0, 200);
            }
            let metrics = fixture.metrics().await;
            for (outcome, count) in [("hit", 2 * requests), ("miss", requests)] {
                let line = format!(
                    "keybound_verify_cache_lookups_total{{api=\"orders.contoso.com\",outcome=\"{outcome}\"}} {count}\n"
                );
                assert!(metrics.contains(&line), "{line}{metrics}");
            }
            // The new policy has a new cache.
            daemon.reload().await.unwrap();
        }
        daemon.stop(Duration::ZERO).await;
    });
}

/// A daemon that is configured for another proxy than the one in front of it.
#[test]
fn certificates_in_the_header_of_another_proxy_are_counted() {
    runtime().block_on(async {
        let fixture = Fixture::of("haproxy");
        let daemon = fixture.start(DecisionLog::none()).await.unwrap();
        let mut sender = connect_unix(&fixture.socket()).await;
        for (name, count) in [("version-2", 1), ("no-certificate", 1), ("version-2", 2)] {
            let request = subrequest(&case(name), "orders.contoso.com");
            assert_eq!(status(&mut sender, request).await.0, 401, "{name}");
            let metrics = fixture.metrics().await;
            let family = "keybound_verify_certificate_headers_ignored_total";
            let line = format!("{family}{{cause=\"other_header\"}} {count}\n");
            assert!(metrics.contains(&line), "{metrics}");
        }
        daemon.stop(Duration::ZERO).await;
    });
}

#[test]
fn steps_of_the_wall_clock_are_measured() {
    runtime().block_on(async {
        let fixture = Fixture::new();
        let clock = Stepped::default();
        let of_verifier = clock.clone();
        let settings = move |builder: VerifierBuilder| builder.clock(of_verifier.clone());
        let daemon = fixture.start_with(DecisionLog::none(), settings).await;
        let daemon = daemon.unwrap();
        for step in [0, -3600, 7200] {
            clock.0.store(step, Relaxed);
            let line = format!("keybound_verify_clock_step_seconds {step}\n");
            let metrics = fixture.metrics().await;
            assert!(metrics.contains(&line), "{metrics}");
        }
        // A new policy takes the time as it is.
        daemon.reload().await.unwrap();
        let metrics = fixture.metrics().await;
        let line = "keybound_verify_clock_step_seconds 0\n";
        assert!(metrics.contains(line), "{metrics}");
        daemon.stop(Duration::ZERO).await;
    });
}

/// A wall clock that was set by these seconds.
#[derive(Clone, Default)]
struct Stepped(Arc<AtomicI64>);

impl Clock for Stepped {
    fn wall(&self) -> Duration {
        let now = fixed_now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        Duration::from_secs(now.wrapping_add_signed(self.0.load(Relaxed)))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(1000)
    }
}

#[test]
fn each_metric_is_documented() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/verify.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, rows) = page.split_once("\n### Metrics\n").unwrap();
    let (rows, _) = rows.split_once("\n### ").unwrap();
    let names = |text: &str, start: &str, end: char| -> BTreeSet<String> {
        let rows = text.lines().filter_map(|line| line.strip_prefix(start));
        let names = rows.filter_map(|row| row.split_once(end));
        names.map(|(name, _)| name.to_owned()).collect()
    };
    runtime().block_on(async {
        let fixture = Fixture::new();
        let daemon = fixture.start(DecisionLog::none()).await.unwrap();
        let (_, metrics) = get(&fixture.admin(), "GET", "/metrics").await;
        assert_eq!(names(rows, "| `", '`'), names(&metrics, "# TYPE ", ' '));
        daemon.stop(Duration::ZERO).await;
    });
}
