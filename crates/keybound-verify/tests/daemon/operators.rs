//! What operators get.
use crate::fixture::{Fixture, case, connect_unix, get, status, subrequest};
use crate::support::runtime;
use keybound_verify::DecisionLog;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

#[test]
fn operators_get_health_readiness_and_metrics() {
    runtime().block_on(async {
        let fixture = Fixture::new();
        let daemon = fixture.start(DecisionLog::none()).await.unwrap();
        for (method, target, expected) in [
            ("GET", "/healthz", 200),
            ("GET", "/readyz", 200),
            ("GET", "/metrics", 200),
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
        ] {
            assert!(metrics.lines().any(|found| found == line), "{line}:\n{metrics}");
        }
        daemon.stop(Duration::ZERO).await;
    });
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
