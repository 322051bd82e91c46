//! The judgements, as tables of what is found and the judgement; the documentation of the checks; and reports of hosts that a
//! transcript of the program cannot have.
use super::clock::{self, ServiceTime};
use super::examination::{CHECKS, Examination, transient_as_warning};
use super::proxies::SourceAddress;
use super::report::Report;
use super::token_endpoint::{
    Connection, Server, Target, guessed, judge_error, judge_name, judge_server,
};
use super::variables::Variables;
use super::{certificates, host, proxies};
use crate::args::{Cli, Command, DoctorArgs};
use crate::diagnosis::testing::MemoryStore;
use crate::diagnosis::{Finding, Level};
use crate::session;
use clap::Parser as _;
use keybound::store::{BindingCacheKey, BindingStore as _, StoredBinding};
use keybound::tls::{ProxyConfig, TransportError, TransportErrorKind};
use keybound::{Attestation, Certificate, Error, ErrorKind, Guid, ManagedIdentity, Stage};
use keybound_core::EndpointPolicy;
use keybound_emulator::{Config, Emulator};
use keybound_testing::{CertificateBuilder, lines_match, shared_p256_key};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use url::Url;

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

#[test]
fn judges_the_lookup_of_a_name() {
    let failed = || Err(io::Error::other("no such host"));
    for (found, level, part) in [
        (Ok(1), Level::Ok, "a.example has 1 address"),
        (Ok(4), Level::Ok, "4 addresses"),
        (Ok(0), Level::Problem, "no address"),
        (failed(), Level::Problem, "cannot be resolved: no such host"),
        (
            Err(io::ErrorKind::TimedOut.into()),
            Level::Problem,
            "timed out",
        ),
    ] {
        assert_finding(&judge_name("a.example", found), level, part);
    }
}

#[test]
fn judges_the_lifetime_of_the_servers_certificate() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let hours = |hours: u64| Some(now + Duration::from_secs(hours * 3600));
    for (not_after, level, part) in [
        (None, Level::Ok, "is accepted"),
        (hours(90 * 24), Level::Ok, "valid for 90 d 0 h"),
        (hours(72), Level::Ok, "valid for 3 d 0 h"),
        (hours(71), Level::Warning, "expires at 2027-01-18"),
        (
            Some(now - Duration::from_secs(1)),
            Level::Warning,
            "expires at",
        ),
    ] {
        let tls = Some("TLSv1.3 by OpenSSL".to_owned());
        let finding = judge_server(&Server { tls, not_after }, now);
        assert_finding(&finding, level, part);
    }
}

/// The lifetime of the certificate is checked too if the server requires one.
#[test]
fn judges_the_certificate_of_a_server_that_requires_one() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let key = shared_p256_key();
    for (hours, level, part) in [
        (100, Level::Ok, "valid for 4 d 4 h"),
        (10, Level::Warning, "expires at"),
    ] {
        let validity = now - Duration::from_secs(3600)..now + Duration::from_secs(hours * 3600);
        let certificate = CertificateBuilder::new(key).validity(validity).sign(key);
        let certificate = Certificate::from_der(&certificate.to_der().unwrap());
        let kind = TransportErrorKind::ClientCertificateRejected;
        let error = TransportError::new(kind, "why").with_server(certificate.ok());
        let finding = judge_error(error.at(Stage::Token), false, now);
        assert_finding(&finding, level, part);
        assert!(
            finding
                .detail
                .starts_with("the server requires a certificate")
        );
    }
}

#[test]
fn judges_failed_connections() {
    use TransportErrorKind::{
        ClientCertificateRejected, Connect, Proxy, ServerCertificate, Timeout, Tls,
    };
    let now = SystemTime::UNIX_EPOCH;
    for (kind, message, proxied, part, next_step) in [
        (
            Connect,
            "refused",
            false,
            "no TLS connection",
            "check that the address",
        ),
        (
            Timeout,
            "late",
            false,
            "did not respond in time",
            "firewall, network security group",
        ),
        (
            Timeout,
            "late",
            true,
            "did not respond in time",
            "check that the proxy runs",
        ),
        (Tls, "why", false, "no TLS connection", ""),
        (
            ServerCertificate,
            "self-signed certificate",
            false,
            "is not accepted",
            "proxy that inspects TLS; unset SSL_CERT_FILE",
        ),
        (
            ServerCertificate,
            "certificate has expired",
            false,
            "is not accepted",
            "check the clock",
        ),
        (
            ServerCertificate,
            "certificate is not yet valid",
            false,
            "is not accepted",
            "check the clock",
        ),
        (
            Proxy,
            "the proxy p:1 rejected the credentials",
            true,
            "the proxy does not connect",
            "correct user and password",
        ),
        (
            Proxy,
            "the proxy p:1 requires credentials, and its URL has none",
            true,
            "the proxy does not connect",
            "correct user and password",
        ),
        (
            Proxy,
            "the proxy p:1 rejected the tunnel with status 403",
            true,
            "the proxy does not connect",
            "ask the owner of the proxy",
        ),
    ] {
        let error = TransportError::new(kind, message).at(Stage::Token);
        let finding = judge_error(error, proxied, now);
        assert_finding(&finding, Level::Problem, part);
        let advice = finding.next_step.as_deref().unwrap_or_default();
        assert!(advice.contains(next_step), "{message}: {advice}");
        // Whether this host uses an endpoint that IMDS did not name is not known.
        let finding = guessed(finding);
        assert_finding(
            &finding,
            Level::Warning,
            "if this host uses https://mtlsauth",
        );
    }
    let rejected = TransportError::new(ClientCertificateRejected, "why").at(Stage::Token);
    let finding = judge_error(rejected, false, now);
    assert_finding(&finding, Level::Ok, "requires a certificate");
    // The handshake verified a certificate: the error is no error of TLS.
    let error = TransportError::new(TransportErrorKind::Protocol, "not http");
    let error = error.with_server(Some(stale("https://127.0.0.1").certificate));
    let finding = judge_error(error.at(Stage::Token), false, now);
    assert_finding(&finding, Level::Problem, "TLS works, but");
    let ok = guessed(Finding::ok("fine"));
    assert_finding(&ok, Level::Ok, "fine");
}

/// IMDS supplied no endpoint: the allow-list may have that of this host.
#[test]
fn does_not_judge_an_endpoint_that_imds_did_not_name_by_the_allow_list() {
    let policy = EndpointPolicy::new(false);
    let policy = policy.with_operator_hosts("centralus.mtlsauth.microsoft.com");
    let named = Url::parse("https://mtlsauth.microsoft.com").unwrap();
    let guess = Target::of(None, false);
    for (target, level, part) in [
        (guess, Level::Skipped, "not known before"),
        (
            Target::of(Some(named), false),
            Level::Problem,
            "not allowed",
        ),
    ] {
        let connection = Connection {
            target: &target,
            allowed: target.check(&policy),
            proxied: Ok(false),
        };
        let dns = Finding::ok("known");
        let client = || {
            Err(Error::invalid_request(
                "connects though that is not allowed",
            ))
        };
        let connecting = connection.connect(&dns, client, Duration::ZERO);
        let connected = session::run_to_end(connecting);
        let (finding, time) = connected.unwrap_or_else(|failure| panic!("{failure:?}"));
        assert_finding(&finding, level, part);
        assert!(time.is_none());
    }
}

#[test]
fn warns_of_errors_of_imds_that_requests_retry() {
    for (kind, level) in [
        (ErrorKind::ServiceUnavailable, Level::Warning),
        (ErrorKind::NotImds, Level::Problem),
        (ErrorKind::Unreachable, Level::Problem),
    ] {
        let error = Error::new(kind, Stage::Metadata, "why").with_status(429);
        let finding = transient_as_warning(Finding::failed("the probe failed", error));
        assert_finding(&finding, level, "the probe failed");
    }
}

#[test]
fn finds_pairs_of_variables_of_which_one_is_missing() {
    for (set, half) in [
        (&[][..], None),
        (&["IDENTITY_ENDPOINT"], Some("without IDENTITY_HEADER")),
        (&["IDENTITY_HEADER"], Some("without IDENTITY_ENDPOINT")),
        (&["MSI_SECRET"], Some("without MSI_ENDPOINT")),
        (&["IDENTITY_ENDPOINT", "IDENTITY_HEADER"], None),
        (&["IDENTITY_ENDPOINT", "IMDS_ENDPOINT"], None),
        (&["MSI_ENDPOINT"], None),
        (&["MSI_ENDPOINT", "MSI_SECRET"], None),
    ] {
        match (host::half_set(set), half) {
            (Some(found), Some(part)) => assert!(found.contains(part), "{found}"),
            (found, half) => assert_eq!(found, half, "{set:?}"),
        }
    }
}

#[test]
fn judges_what_proxies_do_to_imds() {
    let source = SourceAddress {
        name: "IMDS".to_owned(),
        url: Url::parse("http://169.254.169.254").unwrap(),
        shown: "169.254.169.254".to_owned(),
    };
    let other: &[&str] = &["HTTP_PROXY"];
    for (set, no_proxy, proxied, level, part) in [
        (&[][..], "", false, Level::Ok, "none"),
        (other, "", false, Level::Warning, "HTTP_PROXY sends"),
        (
            &["http_proxy"],
            "",
            false,
            Level::Warning,
            "http_proxy sends",
        ),
        (&["ALL_PROXY"], "a", true, Level::Warning, "ALL_PROXY sends"),
        (&["all_proxy"], "", true, Level::Warning, "all_proxy sends"),
        (other, "169.254.169.254", false, Level::Ok, "none"),
        (other, "169.254.0.0/16", false, Level::Ok, "none"),
        (other, "*", false, Level::Ok, "none"),
        (&["HTTPS_PROXY"], "", true, Level::Ok, "HTTPS_PROXY applies"),
        (
            &["HTTPS_PROXY"],
            "*",
            false,
            Level::Ok,
            "no connection here",
        ),
        (&[], "", true, Level::Ok, "the proxy of the system applies"),
    ] {
        let proxy = ProxyConfig::from_values(None, Some(no_proxy)).unwrap();
        let finding = proxies::judge(&proxy, set, Some(&source), Ok(proxied));
        assert_finding(&finding, level, part);
        let finding = proxies::judge(&proxy, set, None, Ok(proxied));
        assert_eq!(finding.level, Level::Ok, "another source: {finding:?}");
    }
    let malformed = ProxyConfig::from_environment(Some("https://swordfish"), None);
    let proxied = malformed.is_used_for(&Url::parse("https://a.example").unwrap());
    let finding = proxies::judge(&malformed, &["HTTPS_PROXY"], Some(&source), proxied);
    assert_finding(&finding, Level::Problem, "cannot be used");
    // The address that the next step names is the one that is compared.
    let tls = Url::parse("https://192.0.2.1:2377/x").unwrap();
    let arc = Url::parse("http://192.0.2.1:40342/x").unwrap();
    for (url, level) in [(tls, Level::Ok), (arc, Level::Warning)] {
        let source = SourceAddress {
            name: "Azure Arc".to_owned(),
            url,
            shown: "192.0.2.1".to_owned(),
        };
        let direct = ProxyConfig::none();
        let finding = proxies::judge(&direct, other, Some(&source), Ok(false));
        assert_eq!(finding.level, level, "{finding:?}");
        if let Some(next_step) = finding.next_step {
            assert!(next_step.contains("Azure Arc (192.0.2.1) to NO_PROXY"));
            let listed = direct.with_no_proxy(&source.shown);
            let finding = proxies::judge(&listed, other, Some(&source), Ok(false));
            assert_eq!(finding.level, Level::Ok);
        }
    }
}

#[test]
fn names_variables_and_warns_of_the_switch() {
    for (set, disabled, level, part) in [
        (&[][..], false, Level::Ok, "no variable"),
        (&["A", "B"], false, Level::Ok, "set: A, B"),
        (&["A"], true, Level::Warning, "disables bound tokens"),
    ] {
        assert_finding(&host::environment(set, disabled), level, part);
    }
}

#[test]
fn masks_values_of_variables() {
    let value = |name: &str| {
        let value = match name {
            "AZURE_POD_IDENTITY_AUTHORITY_HOST" => "http://127.0.0.1:40342/",
            "HTTPS_PROXY" => "user:sword%66ish@proxy.example:3128",
            "HTTP_PROXY" => "swordfish.example",
            "ALL_PROXY" => "proxy",
            "IDENTITY_HEADER" => "swordfish",
            "MSAL_MI_DISABLE_IMDS_V2" => "true",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let library = [
        "ALL_PROXY",
        "AZURE_POD_IDENTITY_AUTHORITY_HOST",
        "HTTPS_PROXY",
        "IDENTITY_HEADER",
        "MSAL_MI_DISABLE_IMDS_V2",
    ];
    let variables = Variables::new(library, value);
    assert_eq!(
        variables.names(),
        [
            "ALL_PROXY",
            "AZURE_POD_IDENTITY_AUTHORITY_HOST",
            "HTTPS_PROXY",
            "HTTP_PROXY",
            "IDENTITY_HEADER",
            "MSAL_MI_DISABLE_IMDS_V2"
        ]
    );
    for (text, masked) in [
        (
            "no connection to 127.0.0.1:40342: refused",
            "no connection to [AZURE_POD_IDENTITY_AUTHORITY_HOST]: refused",
        ),
        (
            "the proxy proxy.example:3128 has no address",
            "the proxy [HTTPS_PROXY] has no address",
        ),
        ("swordfish.example:80", "[HTTP_PROXY]"),
        ("sent swordfish", "sent [IDENTITY_HEADER]"),
        ("it is true", "it is true"),
        ("swordfish.example is unknown", "[HTTP_PROXY] is unknown"),
        ("swordfishes", "swordfishes"),
        (
            "the proxy proxy:80 has none",
            "the proxy [ALL_PROXY] has none",
        ),
    ] {
        assert_eq!(variables.mask(text), masked);
    }
    let empty = |name: &str| name.ends_with("_PROXY").then(|| " ".to_owned());
    let variables = Variables::new(["HTTPS_PROXY", "ALL_PROXY"], empty);
    assert_eq!(variables.names(), [""; 0], "empty values count as absent");
}

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

/// A script that reads either member does the same.
#[test]
fn error_has_the_next_step_of_its_check() {
    for fault in ["probe=status:429", "probe=html", "instance=html"] {
        let emulator = Emulator::start(Config::default()).unwrap();
        emulator.inject(fault.parse().unwrap()).unwrap();
        let report = serde_json::to_value(report(&emulator, &Arc::default(), &[])).unwrap();
        let checks = report["checks"].as_array().unwrap().iter();
        let failed: Vec<_> = checks.filter(|check| !check["error"].is_null()).collect();
        assert!(!failed.is_empty(), "{fault}");
        for check in failed {
            let (next_step, error) = (&check["next_step"], &check["error"]);
            assert_eq!(&error["next_step"], next_step, "{fault}");
            let message = error["message"].as_str().unwrap();
            assert!(message.ends_with(next_step.as_str().unwrap()), "{message}");
        }
    }
}

#[test]
fn names_workload_identity_where_imds_does_not_respond() {
    let problem = || Finding::problem("IMDS does not respond", "find it");
    let token_file: &[&str] = &["AZURE_FEDERATED_TOKEN_FILE"];
    for (finding, set, part) in [
        (problem(), token_file, Some("--workload-identity")),
        (problem(), &[], Some("find it")),
        (Finding::ok("IMDS supports v2"), token_file, None),
    ] {
        let finding = host::with_workload_identity(finding, set);
        let next_step = finding.next_step.as_deref();
        assert_eq!(next_step.is_some(), part.is_some(), "{finding:?}");
        let expected = part.unwrap_or_default();
        assert!(next_step.unwrap_or_default().contains(expected));
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

fn assert_finding(finding: &Finding, level: Level, part: &str) {
    assert_eq!(finding.level, level, "{finding:?}");
    assert!(finding.detail.contains(part), "{part:?}: {finding:?}");
    let advises = level >= Level::Warning;
    assert_eq!(finding.next_step.is_some(), advises, "{finding:?}");
}

#[test]
fn shows_a_stale_certificate_of_the_store() {
    let emulator = Emulator::start(Config::default()).unwrap();
    let store = Arc::new(MemoryStore::default());
    store.save(&key(), &stale(emulator.ready().sts.as_str()));
    let report = report(&emulator, &store, &[]);
    let expected = std::fs::read_to_string(of_program(
        "src/commands/doctor/tests/stale-certificate.txt",
    ));
    let text = anstream::adapter::strip_str(&report.text()).to_string();
    let expected = expected.unwrap();
    let (expected, lines): (Vec<_>, Vec<_>) = (expected.lines().collect(), text.lines().collect());
    assert!(lines_match(&expected, &lines), "{text}");
    assert!(report.is_ok(), "a warning is no problem");
    assert_eq!(store.entries().len(), 1, "the store does not change");
}

/// Whatever services send, a report has printable lines of at most 80 columns, at most one screen of them, and no secret.
#[test]
fn hostile_texts_stay_on_one_screen() {
    let token = format!("eyJhbGciOiJSUzI1NiJ9.{}.c2ln", "eyJh".repeat(20));
    let body = format!(
        r#"{{"error":"x\u001b[2J","error_description":"\u202e you sent {token} {}"}}"#,
        "word ".repeat(500)
    );
    for fault in [
        format!("probe=status:403,Server={},body={body}", "s".repeat(300)),
        format!("probe=status:500,Server=IMDS/1,body={}", "x".repeat(6000)),
        format!("instance=status:400,body={body}"),
        r#"instance=set-field:securityProfile={"securityType":"[2J\u202e\u001b[31m"}"#.to_owned(),
        "instance=not-http".to_owned(),
        "probe=oversized".to_owned(),
    ] {
        let emulator = Emulator::start(Config::default()).unwrap();
        emulator.inject(fault.parse().unwrap()).unwrap();
        let report = report(&emulator, &Arc::default(), &[]);
        let text = anstream::adapter::strip_str(&report.text()).to_string();
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{fault}: {line}");
        }
        assert!(text.lines().count() <= 40, "{fault}: {text}");
        let json = crate::json::document(&report).unwrap();
        for output in [&text, &json] {
            let is_unsafe = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
            assert!(!output.contains(is_unsafe), "{fault}: {output:?}");
            assert!(!output.contains("eyJhbGciOi"), "{fault}: {output}");
        }
    }
}

/// The picture of the documentation is what the program prints.
#[test]
fn documentation_shows_the_report_of_a_transcript() {
    let page = std::fs::read_to_string(of_program("../../docs/doctor.md")).unwrap();
    let (_, picture) = page.split_once("keybound doctor --simulated\n").unwrap();
    let (picture, _) = picture.split_once("\n```").unwrap();
    let transcript = of_program("tests/transcripts/doctor-proxy.txt");
    let transcript = std::fs::read_to_string(transcript).unwrap();
    let (_, expected) = transcript.split_once("--- stdout\n").unwrap();
    let (expected, _) = expected.split_once("\n--- stderr").unwrap();
    let expected: Vec<_> = expected.lines().collect();
    let picture: Vec<_> = picture.lines().collect();
    assert!(lines_match(&expected, &picture), "{}", picture.join("\n"));
}

/// The table of the documentation, and the members of the JSON that it and the help name.
#[test]
fn documentation_lists_checks_and_members() {
    let page = std::fs::read_to_string(of_program("../../docs/doctor.md")).unwrap();
    assert_eq!(first_cells(&page, "## Checks"), CHECKS);
    let emulator = Emulator::start(Config::default()).unwrap();
    emulator.inject("probe=html".parse().unwrap()).unwrap();
    let report = report(&emulator, &Arc::default(), &[]);
    let json = serde_json::to_value(&report).unwrap();
    let names: Vec<_> = json["checks"].as_array().unwrap().iter().collect();
    let names: Vec<_> = names
        .iter()
        .map(|check| check["check"].as_str().unwrap())
        .collect();
    assert_eq!(names, CHECKS);
    let mut members = BTreeSet::new();
    collect_members(&json, "", &mut members);
    let documented: BTreeSet<_> = first_cells(&page, "## JSON").into_iter().collect();
    let of_errors = |name: &String| name.starts_with("checks[].error.");
    members.retain(|name| !of_errors(name));
    assert_eq!(members, documented);
    for name in members.iter().filter_map(|name| name.rsplit('.').next()) {
        let name = name.trim_end_matches("[]");
        let help = include_str!("../../args/doctor.rs");
        assert!(help.contains(name), "{name} is not in the help");
    }
}

/// `checks[].result` for the member of the elements of a list.
fn collect_members(value: &Value, path: &str, members: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let path = format!("{path}.{name}");
                let path = path.trim_start_matches('.');
                members.insert(path.to_owned());
                collect_members(value, path, members);
            }
        }
        Value::Array(values) => {
            for value in values {
                collect_members(value, &format!("{path}[]"), members);
            }
        }
        _ => {}
    }
}

/// The names in the first cells of the table below a heading.
fn first_cells(page: &str, heading: &str) -> Vec<String> {
    let below = page.lines().skip_while(|line| *line != heading).skip(1);
    let below = below.take_while(|line| !line.starts_with("## "));
    let rows = below.filter_map(|line| line.strip_prefix("| `"));
    let names = rows.filter_map(|row| row.split('`').next());
    names.map(str::to_owned).collect()
}

fn report(emulator: &Emulator, store: &Arc<MemoryStore>, flags: &[&str]) -> Report {
    let ready = emulator.ready();
    let ca_file = ready.ca_file.to_str().unwrap();
    let base = ["keybound", "doctor", "--simulated", "--imds", &ready.imds];
    let rest = ["--ca-file", ca_file, "--token-endpoint", &ready.sts];
    let args: Box<DoctorArgs> = match Cli::parse_from([&base[..], &rest, flags].concat()).command {
        Command::Doctor(args) => args,
        other => panic!("{other:?}"),
    };
    let trust = session::trust(&args.host, None).unwrap_or_else(|failure| panic!("{failure:?}"));
    let builder = session::client_builder(&args.host, trust.clone());
    let builder = builder.unwrap_or_else(|failure| panic!("{failure:?}"));
    let builder = builder.binding_store(Arc::clone(store) as _);
    let examination = Examination::with(&args, trust, builder, Variables::default());
    let examination = examination.unwrap_or_else(|failure| panic!("{failure:?}"));
    let checks = session::run_to_end(examination.run());
    let checks = checks.unwrap_or_else(|failure| panic!("{failure:?}"));
    Report::new(&args, checks, examination.variables())
}

fn key() -> BindingCacheKey {
    BindingCacheKey {
        identity: ManagedIdentity::system_assigned(),
        attestation: Attestation::Simulated,
    }
}

/// A certificate that has expired.
fn stale(sts: &str) -> StoredBinding {
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let key = shared_p256_key();
    let certificate = CertificateBuilder::new(key)
        .issuer("managedidentitysnissuer.login.microsoft.com")
        .validity(start..start + Duration::from_secs(7 * 24 * 3600))
        .sign(key);
    let id = Guid::parse("5a5a5a5a-0000-4000-8000-000000000001").unwrap();
    StoredBinding {
        certificate: Certificate::from_der(&certificate.to_der().unwrap()).unwrap(),
        client_id: id.clone(),
        tenant_id: id,
        identity_type: "SystemAssigned".to_owned(),
        endpoint: sts.to_owned(),
        token_endpoint: format!("{sts}/x/oauth2/v2.0/token"),
        key_name: "a key".to_owned(),
    }
}

fn of_program(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
