//! Counters, and their text for Prometheus.
use crate::check::DenialReason;
use crate::{Apis, DecisionLog};
use keybound_core::printable;
use keybound_resource::Reason;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The metrics of a daemon. Those of an API outlive a reload of the configuration.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    apis: Mutex<BTreeMap<String, Arc<ApiMetrics>>>,
    unknown_hosts: AtomicU64,
    unpinned_connections: AtomicU64,
    reloads: AtomicU64,
    failed_reloads: AtomicU64,
}

/// The metrics of an API.
#[derive(Debug)]
pub(crate) struct ApiMetrics {
    allowed: AtomicU64,
    denied: [AtomicU64; Reason::ALL.len()],
    /// The number of decisions that took at most as long as the bound at this position, and longer than the one before.
    durations: [AtomicU64; BUCKETS.len()],
    nanoseconds: AtomicU64,
}

impl Default for ApiMetrics {
    fn default() -> Self {
        Self {
            allowed: AtomicU64::default(),
            denied: std::array::from_fn(|_| AtomicU64::default()),
            durations: std::array::from_fn(|_| AtomicU64::default()),
            nanoseconds: AtomicU64::default(),
        }
    }
}

impl ApiMetrics {
    /// Counts a decision.
    pub(crate) fn count(&self, denied: Option<DenialReason>, duration: Duration) {
        let counter = match denied {
            None => Some(&self.allowed),
            Some(DenialReason::Refused(reason)) => {
                let position = Reason::ALL.iter().position(|known| *known == reason);
                position.map(|position| &self.denied[position])
            }
            Some(DenialReason::HostUnknown) => None,
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Relaxed);
        }
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Relaxed);
        let bucket = BUCKETS.iter().position(|(_, bound)| duration <= *bound);
        if let Some(bucket) = bucket {
            self.durations[bucket].fetch_add(1, Relaxed);
        }
    }
}

impl Metrics {
    /// Those of the API with this name.
    pub(crate) fn of_api(&self, name: &str) -> Arc<ApiMetrics> {
        let mut apis = self.apis.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(apis.entry(name.to_owned()).or_default())
    }

    pub(crate) fn count_unknown_host(&self) {
        self.unknown_hosts.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_unpinned_connection(&self) {
        self.unpinned_connections.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_reload(&self, succeeded: bool) {
        let counter = match succeeded {
            true => &self.reloads,
            false => &self.failed_reloads,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// The text format of Prometheus, version 0.0.4.
    pub(crate) fn text(&self, current: &Apis, log: &DecisionLog) -> String {
        let mut text = Text::default();
        let apis = self.apis.lock().unwrap_or_else(PoisonError::into_inner);
        text.family(
            "keybound_verify_decisions_total",
            "counter",
            "Decisions by API, outcome and reason.",
        );
        for (name, api) in &*apis {
            let labels = format!(r#"api="{name}",outcome="allowed",reason="""#);
            text.sample(&labels, api.allowed.load(Relaxed));
            for (reason, count) in Reason::ALL.iter().zip(&api.denied) {
                let count = count.load(Relaxed);
                if count > 0 {
                    let code = reason.code();
                    text.sample(
                        &format!(r#"api="{name}",outcome="denied",reason="{code}""#),
                        count,
                    );
                }
            }
        }
        text.family(
            "keybound_verify_unknown_host_total",
            "counter",
            "Requests whose host is that of no API.",
        );
        text.sample("", self.unknown_hosts.load(Relaxed));
        text.family(
            "keybound_verify_unpinned_connections_total",
            "counter",
            "Connections that were closed, as their peer has none of the certificates of [listen.tls].",
        );
        text.sample("", self.unpinned_connections.load(Relaxed));
        text.durations(&apis);
        drop(apis);
        text.family(
            "keybound_verify_ready",
            "gauge",
            "Whether the API has the keys of an issuer, and those of its others were tried.",
        );
        for api in current.iter() {
            text.sample(
                &format!(r#"api="{}""#, api.name),
                u64::from(api.verifier.has_keys()),
            );
        }
        text.key_ages(current);
        text.key_refreshes(current);
        text.family(
            "keybound_verify_cache_bytes",
            "gauge",
            "The memory of cached tokens.",
        );
        for api in current.iter() {
            let bytes = api.verifier.cached_bytes() as u64;
            text.sample(&format!(r#"api="{}""#, api.name), bytes);
        }
        text.family(
            "keybound_verify_reloads_total",
            "counter",
            "Reloads of the configuration by outcome.",
        );
        text.sample(r#"outcome="succeeded""#, self.reloads.load(Relaxed));
        text.sample(r#"outcome="failed""#, self.failed_reloads.load(Relaxed));
        text.family(
            "keybound_verify_log_dropped_total",
            "counter",
            "Lines of the decision log that were dropped, as their reader is too slow or has gone.",
        );
        text.sample("", log.dropped());
        text.0
    }
}

/// The text, and the name of the family that is written.
#[derive(Default)]
struct Text(String, &'static str);

impl Text {
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.1 = name;
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, labels: &str, value: u64) {
        let name = self.1;
        let _ = match labels {
            "" => writeln!(self.0, "{name} {value}"),
            labels => writeln!(self.0, "{name}{{{labels}}} {value}"),
        };
    }

    fn key_ages(&mut self, current: &Apis) {
        self.family(
            "keybound_verify_keys_age_seconds",
            "gauge",
            "The time since the keys of the issuer were fetched from it; absent as long as there are none.",
        );
        for api in current.iter() {
            for status in api.verifier.key_status() {
                if let Some(age) = status.age() {
                    let issuer = label(status.issuer());
                    let labels = format!(r#"api="{}",issuer="{issuer}""#, api.name);
                    self.sample(&labels, age.as_secs());
                }
            }
        }
    }

    fn key_refreshes(&mut self, current: &Apis) {
        let all = current.key_status();
        self.family(
            "keybound_verify_keys_usable",
            "gauge",
            "Whether there are keys of the issuer that are not too old.",
        );
        for status in &all {
            let labels = format!(r#"issuer="{}""#, label(status.issuer()));
            self.sample(&labels, u64::from(status.is_usable()));
        }
        self.family(
            "keybound_verify_key_refreshes_total",
            "counter",
            "Refreshes of the keys of the issuer by outcome.",
        );
        for status in &all {
            let issuer = label(status.issuer());
            let outcomes = [
                ("succeeded", status.succeeded()),
                ("failed", status.failed()),
            ];
            for (outcome, count) in outcomes {
                let labels = format!(r#"issuer="{issuer}",outcome="{outcome}""#);
                self.sample(&labels, count);
            }
        }
    }

    fn durations(&mut self, apis: &BTreeMap<String, Arc<ApiMetrics>>) {
        const NAME: &str = "keybound_verify_duration_seconds";
        self.family(NAME, "histogram", "How long decisions took.");
        for (name, api) in apis {
            let mut count = 0;
            for ((bound, _), of_bucket) in BUCKETS.iter().zip(&api.durations) {
                count += of_bucket.load(Relaxed);
                let _ = writeln!(
                    self.0,
                    r#"{NAME}_bucket{{api="{name}",le="{bound}"}} {count}"#
                );
            }
            let seconds = Duration::from_nanos(api.nanoseconds.load(Relaxed)).as_secs_f64();
            let _ = writeln!(self.0, r#"{NAME}_sum{{api="{name}"}} {seconds}"#);
            let _ = writeln!(self.0, r#"{NAME}_count{{api="{name}"}} {count}"#);
        }
    }
}

/// A value of a label: the name of an issuer is any text of the configuration.
fn label(text: &str) -> String {
    printable(text, MAX_LABEL)
        .replace('\\', r"\\")
        .replace('"', r#"\""#)
}

const MAX_LABEL: usize = 256;
/// The bounds: cached decisions take microseconds, those with a signature tens of them, those that wait for keys up to a second.
const BUCKETS: [(&str, Duration); 8] = [
    ("0.000005", Duration::from_micros(5)),
    ("0.00002", Duration::from_micros(20)),
    ("0.0001", Duration::from_micros(100)),
    ("0.0005", Duration::from_micros(500)),
    ("0.005", Duration::from_millis(5)),
    ("0.1", Duration::from_millis(100)),
    ("1", Duration::from_secs(1)),
    ("+Inf", Duration::MAX),
];
