use super::{ApiMetrics, BUCKETS};
use crate::Apis;
use keybound_core::printable;
use keybound_resource::Reason;
use keybound_resource::source::IgnoredHeaders;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// The text, and the name of the family that is written.
#[derive(Default)]
pub(super) struct Text(String, &'static str);

impl Text {
    /// A counter without labels.
    pub(super) fn counter(&mut self, name: &'static str, help: &str, value: u64) {
        self.family(name, "counter", help);
        self.sample("", value);
    }

    /// A counter by outcome.
    pub(super) fn outcomes(&mut self, name: &'static str, help: &str, succeeded: u64, failed: u64) {
        self.family(name, "counter", help);
        self.sample(r#"outcome="succeeded""#, succeeded);
        self.sample(r#"outcome="failed""#, failed);
    }

    pub(super) fn decisions(&mut self, apis: &BTreeMap<String, Arc<ApiMetrics>>) {
        self.family(
            "keybound_verify_decisions_total",
            "counter",
            "Decisions by API, outcome and reason.",
        );
        for (name, api) in apis {
            let labels = format!(r#"api="{name}",outcome="allowed",reason="""#);
            self.sample(&labels, api.allowed.load(Relaxed));
            for (reason, count) in Reason::ALL.iter().zip(&api.denied) {
                let count = count.load(Relaxed);
                if count > 0 {
                    let code = reason.code();
                    self.sample(
                        &format!(r#"api="{name}",outcome="denied",reason="{code}""#),
                        count,
                    );
                }
            }
        }
    }

    pub(super) fn ignored_headers(&mut self, ignored: IgnoredHeaders) {
        self.family(
            "keybound_verify_certificate_headers_ignored_total",
            "counter",
            "Requests with a certificate in a header that was ignored.",
        );
        self.sample(r#"cause="untrusted_peer""#, ignored.untrusted_peer);
        self.sample(r#"cause="other_header""#, ignored.other_header);
    }

    pub(super) fn cache_lookups(&mut self, apis: &BTreeMap<String, Arc<ApiMetrics>>) {
        self.family(
            "keybound_verify_cache_lookups_total",
            "counter",
            "Lookups of tokens in the cache: those that were found, and those that had to be verified.",
        );
        for (name, api) in apis {
            for (outcome, count) in [("hit", api.cache.hits()), ("miss", api.cache.misses())] {
                self.sample(&format!(r#"api="{name}",outcome="{outcome}""#), count);
            }
        }
    }

    pub(super) fn cache_bytes(&mut self, current: &Apis) {
        self.family(
            "keybound_verify_cache_bytes",
            "gauge",
            "The memory of cached tokens.",
        );
        for api in current.iter() {
            let labels = format!(r#"api="{}""#, api.name);
            self.sample(&labels, api.verifier.cached_bytes());
        }
    }

    pub(super) fn readiness(&mut self, current: &Apis) {
        self.family(
            "keybound_verify_ready",
            "gauge",
            "Whether the API has the keys of an issuer, and those of its others were tried.",
        );
        for api in current.iter() {
            let labels = format!(r#"api="{}""#, api.name);
            self.sample(&labels, u64::from(api.verifier.has_keys()));
        }
    }

    pub(super) fn clock_step(&mut self, current: &Apis) {
        self.family(
            "keybound_verify_clock_step_seconds",
            "gauge",
            "How far the wall clock was set since the start; negative: back.",
        );
        self.sample("", current.clock_step());
    }

    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.1 = name;
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, labels: &str, value: impl fmt::Display) {
        let name = self.1;
        let _ = match labels {
            "" => writeln!(self.0, "{name} {value}"),
            labels => writeln!(self.0, "{name}{{{labels}}} {value}"),
        };
    }

    pub(super) fn key_ages(&mut self, current: &Apis) {
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

    pub(super) fn key_refreshes(&mut self, current: &Apis) {
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

    pub(super) fn durations(&mut self, apis: &BTreeMap<String, Arc<ApiMetrics>>) {
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

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0
    }
}

/// A value of a label: the name of an issuer is any text of the configuration.
fn label(text: &str) -> String {
    printable(text, MAX_LABEL)
        .replace('\\', r"\\")
        .replace('"', r#"\""#)
}

const MAX_LABEL: usize = 256;
