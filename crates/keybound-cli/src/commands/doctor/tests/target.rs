//! The choice of the token endpoint.
use super::super::target::Target;
use super::super::token_endpoint::Connection;
use super::assert_finding;
use crate::args::{ChosenAuthority, Cli, Command};
use crate::diagnosis::{Finding, Level};
use crate::failure::Failure;
use crate::session;
use clap::Parser as _;
use keybound::Error;
use keybound_core::EndpointPolicy;
use std::time::Duration;
use url::Url;

#[test]
fn default_is_the_token_endpoint_of_the_cloud() {
    for (flags, environment, host) in [
        (&[][..], None, "mtlsauth.microsoft.com"),
        (&[], Some(""), "mtlsauth.microsoft.com"),
        (&["--cloud", "public"], None, "mtlsauth.microsoft.com"),
        (
            &["--cloud", "us-government"],
            None,
            "mtlsauth.microsoftonline.us",
        ),
        (
            &["--cloud", "china"],
            Some("https://login.microsoftonline.us"),
            "mtlsauth.partner.microsoftonline.cn",
        ),
        (
            &["--cloud", "france"],
            None,
            "mtlsauth.sovcloud-identity.fr",
        ),
        (
            &["--cloud", "germany"],
            None,
            "mtlsauth.sovcloud-identity.de",
        ),
        (
            &["--cloud", "singapore"],
            None,
            "mtlsauth.sovcloud-identity.sg",
        ),
        (
            &[],
            Some("https://login.microsoftonline.us/"),
            "mtlsauth.microsoftonline.us",
        ),
        (
            &[],
            Some("https://login.chinacloudapi.cn"),
            "mtlsauth.partner.microsoftonline.cn",
        ),
        (
            &[],
            Some("login.microsoftonline.us"),
            "mtlsauth.microsoftonline.us",
        ),
        (
            &["--authority", "https://login.usgovcloudapi.net"],
            None,
            "mtlsauth.microsoftonline.us",
        ),
        (
            &["--authority", "https://login.stack.example"],
            None,
            "mtlsauth.stack.example",
        ),
    ] {
        let cloud = cloud(flags, environment);
        let Target::Guess(url) = Target::of(None, false, &cloud) else {
            panic!("{flags:?} {environment:?}: {cloud:?}");
        };
        assert_eq!(url.as_str(), format!("https://{host}/"), "{flags:?}");
        // An emulator has no cloud, unless an option names one.
        let is_named = !flags.is_empty();
        assert_eq!(cloud.is_named, is_named);
        let emulated = Target::of(None, true, &cloud);
        assert_eq!(matches!(emulated, Target::Guess(_)), is_named, "{flags:?}");
    }
    // What was named or stored counts.
    let named = Url::parse("https://centralus.mtlsauth.microsoft.com").unwrap();
    let cloud = cloud(&["--cloud", "china"], None);
    let target = Target::of(Some(named.clone()), false, &cloud);
    assert!(matches!(target, Target::Url(url) if url == named));
}

/// Its host is a value of a variable.
#[test]
fn unknown_authority_of_the_environment_is_not_used() {
    for environment in [
        "https://login.stack.example",
        "https://login.microsoftonline.us:8443",
        "https://login.microsoftonline.us/common",
        "http://login.microsoftonline.us",
        "x",
    ] {
        let cloud = cloud(&[], Some(environment));
        let Target::None(why) = Target::of(None, false, &cloud) else {
            panic!("{environment}: {cloud:?}");
        };
        assert!(why.contains("AZURE_AUTHORITY_HOST"), "{why}");
    }
    for authority in [
        "https://sts.stack.example",
        "http://login.microsoftonline.us",
    ] {
        let endpoint = endpoint(&["--authority", authority], None);
        assert!(matches!(endpoint, Err(Failure::Usage(_))), "{authority}");
    }
}

/// IMDS supplied no endpoint: the allow-list may have that of this host.
#[test]
fn does_not_judge_an_endpoint_that_imds_did_not_name_by_the_allow_list() {
    let policy = EndpointPolicy::new(false);
    let policy = policy.with_operator_hosts("centralus.mtlsauth.microsoft.com");
    let named = Url::parse("https://mtlsauth.microsoft.com").unwrap();
    let guess = Target::of(None, false, &cloud(&[], None));
    for (target, level, part) in [
        (guess, Level::Skipped, "not known before"),
        (
            Target::of(Some(named), false, &cloud(&[], None)),
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

/// Of the authority that `get-token` uses.
#[test]
fn connects_to_the_authority_of_workload_identity() {
    let flags = ["--bearer", "--workload-identity"];
    for (options, environment, host) in [
        (&[][..], None, Some("login.microsoftonline.com")),
        (
            &[],
            Some("https://login.stack.example"),
            Some("login.stack.example"),
        ),
        (
            &["--cloud", "china"],
            Some("x:y"),
            Some("login.partner.microsoftonline.cn"),
        ),
        (
            &["--authority", "https://sts.stack.example"],
            None,
            Some("sts.stack.example"),
        ),
        (&[], Some("https://login.microsoftonline.us/common"), None),
    ] {
        let chosen = cloud(&[&flags[..], options].concat(), environment);
        let target = Target::of_workload_identity(&chosen, true);
        assert_eq!(target.url().and_then(Url::host_str), host, "{options:?}");
        assert_eq!(matches!(target, Target::Authority(_)), host.is_some());
    }
    let unknown = cloud(&["--bearer"], Some("https://login.stack.example"));
    let target = Target::of_workload_identity(&unknown, false);
    assert!(matches!(target, Target::None(_)), "{target:?}");
}

fn cloud(flags: &[&str], environment: Option<&str>) -> ChosenAuthority {
    endpoint(flags, environment).unwrap_or_else(|failure| panic!("{failure:?}"))
}

fn endpoint(flags: &[&str], environment: Option<&str>) -> Result<ChosenAuthority, Failure> {
    match Cli::parse_from([&["keybound", "doctor"], flags].concat()).command {
        Command::Doctor(args) => args.authority(environment),
        other => panic!("{other:?}"),
    }
}
