use super::*;
use crate::faults::known_actions::KNOWN;

fn parse(text: &str) -> Result<Fault, String> {
    text.parse::<Fault>().map_err(|error| error.to_string())
}

#[test]
fn names_the_invalid_fault_of_a_list() {
    let long = format!("vault={}", "x".repeat(9000));
    for (texts, expected) in [
        (
            &["vault=close", "issue=explode"][..],
            "faults[1], \"issue=explode\": no such action: explode",
        ),
        (
            &["valt=close"],
            "faults[0], \"valt=close\": no such leg: valt",
        ),
        (&["a\u{1b}\"b"], "faults[0], \"a\\u{1b}\\\"b\": a fault has"),
        (&["vault=hang", &long], "xxx…\": a fault has at most 8192"),
    ] {
        let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
        let error = Fault::parse_all(&texts).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(error.len() < 1000, "{error}");
    }
}

#[test]
fn parses_and_formats_every_action() {
    for text in [
        "token=status:503*2",
        "token=status:429,Retry-After=1,body={\"a\":1,b:*}*3",
        "metadata=status:503,Retry-After=Wed, 21 Oct 2026 07:28:00 GMT,X-A=b",
        "probe=delay:250",
        "vault=hang",
        "graph=close",
        "discovery=reset*1",
        "token=not-http",
        "token=garbage",
        "token=html",
        "token=redirect",
        "token=redirect:https://a.b/c?d=e*2",
        "token=oversized:67108864",
        "issue=truncated",
        "issue=missing-field:certificate",
        "issue=set-field:cuId.vmId=\"a=b*7\"",
        "metadata=server-header:nginx/1.2*always2",
        "metadata=no-server-header",
        "metadata=http-endpoint",
        "issue=foreign-endpoint",
        "issue=foreign-endpoint:https://a.b",
        "issue=certificate:garbage",
        "issue=certificate:other-key",
        "issue=certificate:expired",
        "issue=certificate:not-yet-valid",
        "issue=certificate:other-client",
        "issue=certificate:other-tenant",
        "issue=certificate:past-token-not-after",
        "issue=certificate:unreadable-token-not-after",
        "token=aadsts:1000610*1",
        "token=invalid-client",
        "token=token-type:Bearer",
        "token=no-cnf",
        "token=other-cnf",
        "token=other-client",
        "attest=garbage-token",
        "token=expired-token",
        "keys=foreign-key",
        "keys=other-key",
        "token=other-tenant-key",
        "attest=other-key",
        "vault=never-ask",
        "vault=claims-challenge",
        "graph=claims-challenge:{\"access_token\":{}}",
        "token-tls=reject-certificate:certificate_revoked*1",
        "token-tls=reject-certificate:access_denied",
        "graph-tls=reject-certificate:certificate_required*2",
        "vault-tls=reject-certificate:handshake_failure",
        "token=revoke-certificate:1000612*1",
        "token-tls=revoke-certificate:certificate_revoked*1",
        "graph-tls=revoke-certificate:access_denied",
        "attest-tls=server-certificate:untrusted",
        "vault-tls=server-certificate:expired",
        "graph-tls=server-certificate:other-name",
    ] {
        let fault = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(fault.to_string(), text);
    }
}

#[test]
fn parses_every_entry_of_the_table() {
    for (name, form, legs) in KNOWN {
        let argument = match *name {
            "status" => ":500",
            "set-field" => ":a=1",
            _ if form.starts_with(':') && form.contains('|') => {
                form.split('|').next().unwrap_or_default()
            }
            _ if form.starts_with(':') => ":1",
            _ => "",
        };
        let leg = Leg::ALL
            .into_iter()
            .find(|leg| legs.contains(*leg))
            .unwrap();
        parse(&format!("{leg}={name}{argument}")).unwrap();
    }
}

#[test]
fn preserves_a_count_at_the_end_of_an_argument() {
    let fault = parse("token=token-type:a*3*always").unwrap();
    assert_eq!(fault.action, Action::TokenType("a*3".into()));
    assert_eq!(fault.times, None);
    assert_eq!(parse(&fault.to_string()).unwrap(), fault);
}

#[test]
fn errors_list_the_known_names() {
    let error = parse("tokn=hang").unwrap_err();
    assert!(
        error.contains("tokn") && error.contains("vault-tls"),
        "{error}"
    );
    let error = parse("token=explode").unwrap_err();
    assert!(
        error.contains("explode") && error.contains("aadsts:NUMBER"),
        "{error}"
    );
    assert!(!error.contains("reject-certificate"), "{error}");
    let error = parse("issue=no-cnf").unwrap_err();
    assert!(error.contains("not supported on issue"), "{error}");
    let error = parse("token=status:abc").unwrap_err();
    assert!(error.contains("status:CODE"), "{error}");
}

#[test]
fn rejects_malformed_faults() {
    for text in [
        "",
        "token",
        "token=",
        "token=hang*0",
        "token=hang*1000001",
        "token=hang:x",
        "token=hang:",
        "token=delay",
        "token=delay:-1",
        "token=delay:07",
        "token=delay:3600001",
        "token=status:99",
        "token=status:600",
        "token=status:500,nonsense",
        "token=status:500,a b=c",
        "token=status:500,Content-Length=7",
        "token=redirect:",
        "token=set-field:a",
        "token=set-field:a=nojson",
        "token=set-field:=1",
        "token=missing-field:",
        "issue=certificate:nice",
        "token-tls=html",
        "token-tls=reject-certificate:nice",
        "token-tls=reject-certificate:",
        "vault-tls=reject-certificate:access_denied",
        "vault-tls=revoke-certificate:certificate_required",
        "token-tls=revoke-certificate:1000610",
        "token=revoke-certificate:certificate_revoked",
        "token=revoke-certificate:",
        "vault=revoke-certificate",
        "vault=claims-challenge:[]",
        "token=status:500,body=a\nb",
        &format!("token=token-type:{}", "x".repeat(9000)),
    ] {
        assert!(parse(text).is_err(), "{text:.40}");
    }
}
