//! Counters, and their text for Prometheus.
mod text;

use crate::check::DenialReason;
use crate::{Apis, DecisionLog};
use keybound_resource::source::IgnoredHeaders;
use keybound_resource::{CacheCounters, Reason};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use text::Text;

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
    pub(crate) cache: CacheCounters,
}

impl Default for ApiMetrics {
    fn default() -> Self {
        Self {
            allowed: AtomicU64::default(),
            denied: std::array::from_fn(|_| AtomicU64::default()),
            durations: std::array::from_fn(|_| AtomicU64::default()),
            nanoseconds: AtomicU64::default(),
            cache: CacheCounters::new(),
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
    pub(crate) fn text(
        &self,
        current: &Apis,
        ignored: IgnoredHeaders,
        log: &DecisionLog,
    ) -> String {
        let mut text = Text::default();
        let apis = self.apis.lock().unwrap_or_else(PoisonError::into_inner);
        text.decisions(&apis);
        text.counter(
            "keybound_verify_unknown_host_total",
            "Requests whose host is that of no API.",
            self.unknown_hosts.load(Relaxed),
        );
        text.ignored_headers(ignored);
        text.counter(
            "keybound_verify_unpinned_connections_total",
            "Connections that were closed, as their peer has none of the certificates of [listen.tls].",
            self.unpinned_connections.load(Relaxed),
        );
        text.durations(&apis);
        text.cache_lookups(&apis);
        drop(apis);
        text.cache_bytes(current);
        text.readiness(current);
        text.key_ages(current);
        text.key_refreshes(current);
        text.clock_step(current);
        text.outcomes(
            "keybound_verify_reloads_total",
            "Reloads of the configuration by outcome.",
            self.reloads.load(Relaxed),
            self.failed_reloads.load(Relaxed),
        );
        text.counter(
            "keybound_verify_log_dropped_total",
            "Lines of the decision log that were dropped, as their reader is too slow or has gone.",
            log.dropped(),
        );
        text.into()
    }
}

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
