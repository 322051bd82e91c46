//! The telemetry of an acquisition: spans, retries and counters.
use super::conversations::case;
use super::runner::run;
use super::{Leg, TestHost};
use keybound_testing::{CapturedLog, LogLine};
use std::collections::BTreeSet;

#[test]
fn every_step_has_a_span_with_the_correlation_id_of_its_requests() {
    let log = CapturedLog::default();
    let (host, problems) = log.block_on_paused(run(&case("attestation-90-percent")));
    assert!(problems.is_empty(), "{problems:?}");
    let spans = log.named("keybound_step");
    let first = &host.calls(Leg::Metadata)[0].request_id;
    let steps: Vec<_> = spans
        .iter()
        .filter(|span| span.field("request_id") == Some(first))
        .map(|span| span.field("step").unwrap())
        .collect();
    let all = [
        "metadata",
        "key",
        "csr",
        "attestation",
        "credential",
        "token",
        "binding_check",
    ];
    assert_eq!(steps, all);
    for leg in [Leg::Issue, Leg::Token] {
        assert_eq!(&host.calls(leg)[0].request_id, first, "{leg:?}");
    }
}

#[test]
fn logs_each_retry_with_number_reason_and_delay() {
    for (name, leg, expected) in [
        (
            "retry-imds-503-exhausted",
            Leg::Issue,
            vec![("1", "503", 1000), ("2", "503", 2000), ("3", "503", 4000)],
        ),
        ("retry-entra-5xx", Leg::Token, vec![("1", "503", 1000)]),
    ] {
        let log = CapturedLog::default();
        let (host, problems) = log.block_on_paused(run(&case(name)));
        assert!(problems.is_empty(), "{name}: {problems:?}");
        let calls = host.calls(leg);
        let logged = log.named(AGAIN);
        assert_eq!(logged.len(), expected.len(), "{name}: {logged:?}");
        for (number, (line, (attempt, reason, wait))) in logged.iter().zip(expected).enumerate() {
            assert_eq!(line.field("attempt"), Some(attempt), "{name}");
            let logged = line.field("reason").unwrap();
            assert!(logged.starts_with(reason), "{name}: {logged}");
            assert_eq!(line.field("wait_ms"), Some(&*format!("{wait}")), "{name}");
            assert_eq!(line.field("request_id"), Some(&*calls[number].request_id));
            let waited = calls[number + 1].at - calls[number].at;
            assert!(waited.as_millis().abs_diff(wait) < 20, "{name}: {waited:?}");
        }
    }
}

/// Checks that every request with a correlation id belongs to a span of its step, or to a logged retry.
pub(super) fn check_logged(name: &str, host: &TestHost, log: &CapturedLog) {
    let (started, repeated) = (log.named("keybound_step"), log.named(AGAIN));
    for (leg, step) in LEGS {
        let calls = host.calls(leg);
        let ids: BTreeSet<_> = calls.iter().map(|call| &*call.request_id).collect();
        for id in ids {
            let of_id = |line: &&LogLine| line.field("request_id") == Some(id);
            let called = calls.iter().filter(|call| call.request_id == id).count();
            let started = started.iter().filter(of_id);
            let started = started
                .filter(|span| span.field("step") == Some(step))
                .count();
            let logged = repeated.iter().filter(of_id);
            let logged = logged
                .filter(|line| line.span_field("step") == Some(step))
                .count();
            assert!(started > 0, "{name}: {leg:?} without a span");
            assert!(
                called <= started + logged,
                "{name}: {leg:?} {called} {started} {logged}"
            );
        }
    }
    for line in repeated.iter().chain(&log.named(REFUSED)) {
        let why = [["reason", "attempt"], ["code", "round"]];
        let has = |field: &&str| line.field(field).is_some();
        let has_all = ["wait_ms", "request_id"].iter().all(has)
            && why.iter().any(|fields| fields.iter().all(has));
        assert!(has_all, "{name}: {line:?}");
    }
}

#[cfg(feature = "metrics")]
pub(super) use counters::check_counters;

/// Without the feature, there are no counters.
#[cfg(not(feature = "metrics"))]
pub(super) fn check_counters<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[cfg(feature = "metrics")]
mod counters {
    use super::*;
    use keybound_core::lock;
    use metrics::{
        Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
        with_local_recorder,
    };
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    #[test]
    fn counts_each_outcome_with_all_tags() {
        let counted =
            |name: &str| count(|| CapturedLog::default().block_on_paused(run(&case(name)))).1;
        let tags = |token, bypass, key, outcome: &str| {
            let tags = [
                ("CredentialOutcome", outcome),
                ("KeyType", key),
                ("MsiSource", "ImdsV2"),
                ("TokenType", token),
                ("bypassCache", bypass),
            ];
            tags.map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec()
        };
        for (case, expected) in [
            (
                "first-token",
                tags("mtls_pop", "false", "keyguard", "Success"),
            ),
            (
                "replacement-1000610",
                tags("mtls_pop", "true", "keyguard", "Retry Succeeded"),
            ),
            (
                "replacement-bounded",
                tags("mtls_pop", "true", "keyguard", "Retry Failed"),
            ),
            (
                "replacement-forced-mint-fails",
                tags("mtls_pop", "true", "none", "Retry Failed"),
            ),
            (
                "retry-imds-503-exhausted",
                tags("mtls_pop", "false", "none", "Not found"),
            ),
            (
                "claims-fresh-certificate",
                tags("mtls_pop", "true", "keyguard", "Success"),
            ),
            (
                "token-types-cached-separately",
                tags("Bearer", "false", "keyguard", "Success"),
            ),
        ] {
            let counts = counted(case);
            assert!(counts.contains_key(&expected), "{case}: {counts:#?}");
        }
        let once = counted("first-token");
        assert_eq!(once.values().sum::<u64>(), 1, "{once:?}");
    }

    #[test]
    fn counts_both_legs_of_an_app_registration() {
        let exchange = |assertion, token_type, key, replaced, outcome: &str| {
            let tags = [
                ("Assertion", assertion),
                ("AssertionReplaced", replaced),
                ("KeyType", key),
                ("Outcome", outcome),
                ("TokenType", token_type),
            ];
            tags.map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec()
        };
        for (name, of_identity, exchanges) in [
            (
                "federated-bound",
                2,
                vec![(
                    exchange(
                        "ManagedIdentity",
                        "mtls_pop",
                        "keyguard",
                        "false",
                        "Success",
                    ),
                    2,
                )],
            ),
            (
                "federated-file-replaced",
                0,
                vec![
                    (
                        exchange("TokenFile", "Bearer", "none", "false", "Refused"),
                        2,
                    ),
                    (
                        exchange("TokenFile", "Bearer", "none", "true", "Success"),
                        1,
                    ),
                ],
            ),
            (
                "federated-callback-refused",
                3,
                vec![
                    (
                        exchange("Callback", "mtls_pop", "keyguard", "false", "Failed"),
                        1,
                    ),
                    (
                        exchange("Callback", "mtls_pop", "keyguard", "false", "Refused"),
                        4,
                    ),
                    (
                        exchange("Callback", "mtls_pop", "keyguard", "true", "Refused"),
                        1,
                    ),
                    (
                        exchange("Callback", "mtls_pop", "keyguard", "true", "Success"),
                        1,
                    ),
                ],
            ),
        ] {
            let counts = count(|| CapturedLog::default().block_on_paused(run(&case(name)))).1;
            let (of_app, others): (Counts, Counts) = counts
                .into_iter()
                .partition(|(tags, _)| tags[0].0 == "Assertion");
            assert_eq!(of_app, Counts::from_iter(exchanges), "{name}");
            assert_eq!(others.values().sum::<u64>(), of_identity, "{name}");
        }
    }

    #[test]
    fn counts_requests_to_each_source() {
        for (name, source) in [
            ("source-imds", "Imds"),
            ("source-app-service", "AppService"),
            ("source-service-fabric", "ServiceFabric"),
            #[cfg(target_os = "linux")]
            ("source-azure-arc", "AzureArc"),
            ("source-machine-learning", "MachineLearning"),
            ("source-cloud-shell", "CloudShell"),
        ] {
            let counts = count(|| CapturedLog::default().block_on_paused(run(&case(name)))).1;
            let tags = [
                ("CredentialOutcome", "Success"),
                ("KeyType", "none"),
                ("MsiSource", source),
                ("TokenType", "Bearer"),
                ("bypassCache", "false"),
            ];
            let tags = tags.map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(counts, BTreeMap::from([(tags.to_vec(), 2)]), "{name}");
        }
        let failed =
            count(|| CapturedLog::default().block_on_paused(run(&case("source-errors")))).1;
        let outcomes: BTreeSet<_> = failed.keys().map(|tags| &*tags[0].1).collect();
        assert_eq!(outcomes, BTreeSet::from(["Failed", "Not found"]));
    }

    /// Runs this, and checks that it increments two counters only, with these tags of these few values: nothing of an identity, a
    /// resource or a time.
    pub(in crate::simulation) fn check_counters<T>(work: impl FnOnce() -> T) -> T {
        let (result, counts) = count(work);
        for tags in counts.keys() {
            let names: Vec<_> = tags.iter().map(|(name, _)| &**name).collect();
            let known = match names[0] {
                "Assertion" => EXCHANGE_VALUES,
                _ => VALUES,
            };
            assert_eq!(names, known.map(|(name, _)| name));
            for ((name, value), (_, values)) in tags.iter().zip(known) {
                assert!(values.contains(&&**value), "{name} is {value}");
            }
        }
        result
    }

    type Counts = BTreeMap<Vec<(String, String)>, u64>;

    fn count<T>(work: impl FnOnce() -> T) -> (T, Counts) {
        let recorder = Recorded::default();
        let result = with_local_recorder(&recorder, work);
        let counts = lock(&recorder.0).clone();
        (result, counts)
    }

    #[derive(Default)]
    struct Recorded(Arc<Mutex<Counts>>);

    struct One(Arc<Mutex<Counts>>, Vec<(String, String)>);

    impl CounterFn for One {
        fn increment(&self, by: u64) {
            *lock(&self.0).entry(self.1.clone()).or_default() += by;
        }

        fn absolute(&self, _: u64) {
            panic!("counters are only incremented");
        }
    }

    impl Recorder for Recorded {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            let is_of_exchange = key.labels().any(|tag| tag.key() == "Assertion");
            let name = match is_of_exchange {
                true => "KeyboundExchangeCounter",
                false => "MsalMsiCounter",
            };
            assert_eq!(key.name(), name);
            let tags = key.labels();
            let mut tags: Vec<_> = tags
                .map(|tag| (tag.key().to_owned(), tag.value().to_owned()))
                .collect();
            tags.sort();
            Counter::from_arc(Arc::new(One(Arc::clone(&self.0), tags)))
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            panic!("unexpected metric");
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            panic!("unexpected metric");
        }
    }

    const EXCHANGE_VALUES: [(&str, &[&str]); 5] = [
        ("Assertion", &["ManagedIdentity", "TokenFile", "Callback"]),
        ("AssertionReplaced", &["false", "true"]),
        (
            "KeyType",
            &["none", "software", "hardware", "keyguard", "simulated"],
        ),
        ("Outcome", &["Success", "Refused", "Failed"]),
        ("TokenType", &["Bearer", "mtls_pop"]),
    ];

    const VALUES: [(&str, &[&str]); 5] = [
        (
            "CredentialOutcome",
            &[
                "Failed",
                "Not found",
                "Retry Failed",
                "Retry Succeeded",
                "Success",
            ],
        ),
        (
            "KeyType",
            &["none", "software", "hardware", "keyguard", "simulated"],
        ),
        (
            "MsiSource",
            &[
                "ImdsV2",
                "Imds",
                "AppService",
                "ServiceFabric",
                "AzureArc",
                "MachineLearning",
                "CloudShell",
            ],
        ),
        ("TokenType", &["Bearer", "mtls_pop"]),
        ("bypassCache", &["false", "true"]),
    ];
}

const LEGS: [(Leg, &str); 9] = [
    (Leg::Metadata, "metadata"),
    (Leg::Issue, "credential"),
    (Leg::Token, "token"),
    (Leg::Exchange, "exchange"),
    (Leg::Challenge, "challenge"),
    (Leg::Source, "source"),
    (Leg::Probe, "imds_v2"),
    (Leg::ProbeV1, "imds_v1"),
    (Leg::Compute, "compute"),
];
const AGAIN: &str = "retrying";
const REFUSED: &str = "certificate rejected; retrying with a new one";
