//! What proxies do to the source of tokens.
use super::super::proxies::{self, SourceAddress};
use super::assert_finding;
use crate::diagnosis::Level;
use keybound::tls::ProxyConfig;
use url::Url;

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
