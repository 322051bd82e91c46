use super::action::{ALERTS, FIRST_HANDSHAKE_ALERTS, KNOWN};
use super::{Action, CertificateFault, Leg, ServerCertificateFault, StatusFault};
use http::{HeaderName, HeaderValue};
use std::fmt;
use std::str::FromStr;

/// A pending fault: `LEG=ACTION[:ARG][*COUNT]`, for example `token=status:503,Retry-After=1*2`.
///
/// Without a count it applies to all requests. The configuration file, the `--fault` option and the control endpoint use the
/// same text form; `Display` writes it. Legs: probe, metadata, issue, instance, attest, token, discovery, vault, graph, and the handshakes
/// attest-tls, token-tls, vault-tls, graph-tls. An unknown leg or action is an error that lists all of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    pub(crate) leg: Leg,
    pub(crate) action: Action,
    pub(crate) times: Option<u32>,
}

/// A text that is not a fault. The message lists the valid names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FaultError(String);

impl FaultError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        if text.len() > LONGEST || text.contains(char::is_control) {
            return Err(FaultError::new(
                "a fault has at most 8192 bytes and no control characters",
            ));
        }
        let (leg, rest) = text.split_once('=').ok_or_else(|| {
            FaultError::new("a fault is LEG=ACTION[:ARG][*COUNT], as in token=status:503*2")
        })?;
        let leg = parse_leg(leg)?;
        let (action, times) = split_count(rest)?;
        let (name, argument) = match action.split_once(':') {
            Some((name, argument)) => (name, Some(argument)),
            None => (action, None),
        };
        Ok(Self {
            leg,
            action: parse_action(leg, name, argument)?,
            times,
        })
    }
}

impl Fault {
    /// Reads a list of faults.
    ///
    /// # Errors
    /// The first invalid one, and what is wrong with it.
    pub(crate) fn parse_all(texts: &[String]) -> Result<Vec<Self>, FaultError> {
        let named = |(position, text): (usize, &String)| {
            text.parse().map_err(|error: FaultError| {
                let mut whole = text.escape_default();
                let shown: String = whole.by_ref().take(MAX_QUOTED_CHARACTERS).collect();
                let cut = whole.next().map_or("", |_| "…");
                FaultError::new(format!("faults[{position}], \"{shown}{cut}\": {error}"))
            })
        };
        texts.iter().enumerate().map(named).collect()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = self.action.to_string();
        write!(f, "{}={action}", self.leg)?;
        match self.times {
            Some(times) => write!(f, "*{times}"),
            // The end of an argument that looks like a count must not be parsed as one.
            None if looks_counted(&action) => write!(f, "*{ALWAYS}"),
            None => Ok(()),
        }
    }
}

fn parse_leg(text: &str) -> Result<Leg, FaultError> {
    Leg::ALL
        .into_iter()
        .find(|leg| leg.as_str() == text)
        .ok_or_else(|| {
            let known: Vec<_> = Leg::ALL.iter().map(|leg| leg.as_str()).collect();
            FaultError::new(format!(
                "no such leg: {}; known: {}",
                text.escape_default(),
                known.join(", ")
            ))
        })
}

fn split_count(text: &str) -> Result<(&str, Option<u32>), FaultError> {
    let Some((action, count)) = text.rsplit_once('*').filter(|_| looks_counted(text)) else {
        return Ok((text, None));
    };
    if count == ALWAYS {
        return Ok((action, None));
    }
    match count.parse() {
        Ok(count) if (1..=MAX_COUNT).contains(&count) => Ok((action, Some(count))),
        _ => Err(FaultError::new(format!(
            "a count is between 1 and {MAX_COUNT}, or {ALWAYS}"
        ))),
    }
}

fn looks_counted(text: &str) -> bool {
    text.rsplit_once('*').is_some_and(|(_, count)| {
        count == ALWAYS || (!count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

fn parse_action(leg: Leg, name: &str, argument: Option<&str>) -> Result<Action, FaultError> {
    let mut named = KNOWN.iter().filter(|(known, ..)| *known == name).peekable();
    if named.peek().is_none() {
        return Err(FaultError::new(format!(
            "no such action: {}; known on {leg}: {}",
            name.escape_default(),
            known_on(leg)
        )));
    }
    let Some((_, form, _)) = named.find(|(.., place)| place.has(leg)) else {
        return Err(FaultError::new(format!(
            "{name} has no meaning on {leg}; known there: {}",
            known_on(leg)
        )));
    };
    let action = read_action(leg, name, argument)
        .ok_or_else(|| FaultError::new(format!("{name}: expected {name}{form}")))?;
    match action.alert() {
        Some(alert) if leg == Leg::VaultTls && FIRST_HANDSHAKE_ALERTS.contains(&alert) => {
            Err(FaultError::new(format!(
                "{name}: {alert} is sent in the first handshake only, in which the vault requests no certificate"
            )))
        }
        _ => Ok(action),
    }
}

fn known_on(leg: Leg) -> String {
    let names: Vec<_> = KNOWN
        .iter()
        .filter(|(.., place)| place.has(leg))
        .map(|(name, form, _)| format!("{name}{form}"))
        .collect();
    names.join(", ")
}

/// The action of a known name; `None` where its argument is missing, malformed, or one too many.
fn read_action(leg: Leg, name: &str, argument: Option<&str>) -> Option<Action> {
    let plain = |action: Action| argument.is_none().then_some(action);
    let text = argument.filter(|text| !text.is_empty());
    let optional = |make: fn(Option<String>) -> Action| {
        (argument.is_none() || text.is_some()).then(|| make(text.map(str::to_owned)))
    };
    match name {
        "status" => read_status(text?).map(Action::Status),
        "delay" => number(text?, MAX_DELAY_MILLISECONDS).map(Action::Delay),
        "hang" => plain(Action::Hang),
        "close" => plain(Action::Close),
        "reset" => plain(Action::Reset),
        "not-http" => plain(Action::NotHttp),
        "garbage" => plain(Action::Garbage),
        "html" => plain(Action::Html),
        "redirect" => optional(Action::Redirect).filter(|_| is_header_value(text)),
        "oversized" => match argument {
            None => Some(Action::Oversized(DEFAULT_OVERSIZED)),
            Some(text) => number(text, MAX_OVERSIZED_BYTES).map(Action::Oversized),
        },
        "truncated" => plain(Action::Truncated),
        "missing-field" => Some(Action::MissingField(text?.to_owned())),
        "set-field" => {
            let (name, value) = text?.split_once('=')?;
            let value = serde_json::from_str(value).ok()?;
            (!name.is_empty()).then(|| Action::SetField(name.to_owned(), value))
        }
        "server-header" => {
            is_header_value(text).then(|| Some(Action::ServerHeader(Some(text?.to_owned()))))?
        }
        "no-server-header" => plain(Action::ServerHeader(None)),
        "http-endpoint" => plain(Action::HttpEndpoint),
        "foreign-endpoint" => optional(Action::ForeignEndpoint),
        "certificate" => named(text?, CERTIFICATES).map(Action::Certificate),
        "aadsts" => read_aadsts(text?),
        "invalid-client" => plain(Action::InvalidClient),
        "token-type" => Some(Action::TokenType(text?.to_owned())),
        "no-cnf" => plain(Action::NoCnf),
        "other-cnf" => plain(Action::OtherCnf),
        "other-client" => plain(Action::OtherClient),
        "garbage-token" => plain(Action::GarbageToken),
        "expired-token" => plain(Action::ExpiredToken),
        "foreign-key" => plain(Action::ForeignKey),
        "other-key" => plain(Action::OtherKey),
        "never-ask" => plain(Action::NeverAsk),
        "claims-challenge" => {
            optional(Action::ClaimsChallenge).filter(|_| text.is_none_or(is_json_object))
        }
        "reject-certificate" => read_alert(argument.unwrap_or(ALERTS[0])),
        "revoke-certificate" => {
            let refusing = match argument {
                Some(number) if leg == Leg::Token => read_aadsts(number),
                None if leg == Leg::Token => Some(Action::Aadsts(REVOKED)),
                alert => read_alert(alert.unwrap_or("certificate_revoked")),
            };
            Some(Action::RevokeCertificate(Box::new(refusing?)))
        }
        "server-certificate" => named(text?, SERVER_CERTIFICATES).map(Action::ServerCertificate),
        _ => None,
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let optional = |f: &mut fmt::Formatter<'_>, name: &str, text: &Option<String>| match text {
            Some(text) => write!(f, "{name}:{text}"),
            None => f.write_str(name),
        };
        match self {
            Self::Status(status) => status.fmt(f),
            Self::Delay(milliseconds) => write!(f, "delay:{milliseconds}"),
            Self::Hang => f.write_str("hang"),
            Self::Close => f.write_str("close"),
            Self::Reset => f.write_str("reset"),
            Self::NotHttp => f.write_str("not-http"),
            Self::Garbage => f.write_str("garbage"),
            Self::Html => f.write_str("html"),
            Self::Redirect(url) => optional(f, "redirect", url),
            Self::Oversized(bytes) => write!(f, "oversized:{bytes}"),
            Self::Truncated => f.write_str("truncated"),
            Self::MissingField(name) => write!(f, "missing-field:{name}"),
            Self::SetField(name, value) => write!(f, "set-field:{name}={value}"),
            Self::ServerHeader(Some(text)) => write!(f, "server-header:{text}"),
            Self::ServerHeader(None) => f.write_str("no-server-header"),
            Self::HttpEndpoint => f.write_str("http-endpoint"),
            Self::ForeignEndpoint(url) => optional(f, "foreign-endpoint", url),
            Self::Certificate(fault) => write!(f, "certificate:{}", name_of(fault, CERTIFICATES)),
            Self::Aadsts(code) => write!(f, "aadsts:{code}"),
            Self::InvalidClient => f.write_str("invalid-client"),
            Self::TokenType(word) => write!(f, "token-type:{word}"),
            Self::NoCnf => f.write_str("no-cnf"),
            Self::OtherCnf => f.write_str("other-cnf"),
            Self::OtherClient => f.write_str("other-client"),
            Self::GarbageToken => f.write_str("garbage-token"),
            Self::ExpiredToken => f.write_str("expired-token"),
            Self::ForeignKey => f.write_str("foreign-key"),
            Self::OtherKey => f.write_str("other-key"),
            Self::NeverAsk => f.write_str("never-ask"),
            Self::ClaimsChallenge(json) => optional(f, "claims-challenge", json),
            Self::RejectCertificate(alert) => write!(f, "reject-certificate:{alert}"),
            Self::RevokeCertificate(refusing) => match **refusing {
                Self::Aadsts(code) => write!(f, "revoke-certificate:{code}"),
                Self::RejectCertificate(alert) => write!(f, "revoke-certificate:{alert}"),
                ref other => write!(f, "revoke-certificate:{other}"),
            },
            Self::ServerCertificate(fault) => {
                write!(
                    f,
                    "server-certificate:{}",
                    name_of(fault, SERVER_CERTIFICATES)
                )
            }
        }
    }
}

impl fmt::Display for StatusFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status:{}", self.code)?;
        for (name, value) in &self.headers {
            write!(f, ",{name}={value}")?;
        }
        match &self.body {
            Some(body) => write!(f, ",body={body}"),
            None => Ok(()),
        }
    }
}

fn read_aadsts(text: &str) -> Option<Action> {
    let code = number(text, 9_999_999)?;
    Some(Action::Aadsts(code.try_into().ok()?))
}

fn read_alert(text: &str) -> Option<Action> {
    let alert = ALERTS.iter().find(|alert| **alert == text)?;
    Some(Action::RejectCertificate(alert))
}

/// `CODE[,HEADER=VALUE]…[,body=TEXT]`. A part without `=` belongs to the value before it, so that dates can be written.
fn read_status(text: &str) -> Option<StatusFault> {
    let (head, body) = match text.split_once(",body=") {
        Some((head, body)) => (head, Some(body.to_owned())),
        None => (text, None),
    };
    let mut parts = head.split(',');
    let code = number(parts.next()?, 599).filter(|code| *code >= 200)?;
    let mut headers: Vec<(String, String)> = Vec::new();
    for part in parts {
        match part.split_once('=') {
            Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
            None => {
                let (_, value) = headers.last_mut()?;
                value.push(',');
                value.push_str(part);
            }
        }
    }
    let legal = headers.iter().all(|(name, value)| {
        HeaderName::from_bytes(name.as_bytes()).is_ok_and(|name| !FRAMING.contains(&name.as_str()))
            && HeaderValue::from_str(value).is_ok()
    });
    legal.then_some(StatusFault {
        code: code.try_into().ok()?,
        headers,
        body,
    })
}

/// A whole number without sign or leading zeros, at most `most`.
fn number(text: &str, most: u64) -> Option<u64> {
    let value = text.parse().ok().filter(|value| *value <= most)?;
    (text == u64::to_string(&value)).then_some(value)
}

fn is_header_value(text: Option<&str>) -> bool {
    text.is_none_or(|text| HeaderValue::from_str(text).is_ok())
}

fn is_json_object(text: &str) -> bool {
    serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).is_ok()
}

fn named<T: Copy>(text: &str, names: &[(&str, T)]) -> Option<T> {
    let (_, value) = names.iter().find(|(name, _)| *name == text)?;
    Some(*value)
}

fn name_of<T: PartialEq>(value: &T, names: &[(&'static str, T)]) -> &'static str {
    names
        .iter()
        .find(|(_, known)| known == value)
        .map_or("", |(name, _)| name)
}

const CERTIFICATES: &[(&str, CertificateFault)] = &[
    ("garbage", CertificateFault::Garbage),
    ("other-key", CertificateFault::OtherKey),
    ("expired", CertificateFault::Expired),
    ("not-yet-valid", CertificateFault::NotYetValid),
    ("other-client", CertificateFault::OtherClient),
    ("other-tenant", CertificateFault::OtherTenant),
    ("past-token-not-after", CertificateFault::PastTokenNotAfter),
    (
        "unreadable-token-not-after",
        CertificateFault::UnreadableTokenNotAfter,
    ),
];

const SERVER_CERTIFICATES: &[(&str, ServerCertificateFault)] = &[
    ("untrusted", ServerCertificateFault::Untrusted),
    ("expired", ServerCertificateFault::Expired),
    ("other-name", ServerCertificateFault::OtherName),
];

/// Headers that the listener sets itself.
const FRAMING: &[&str] = &["content-length", "transfer-encoding", "connection"];
/// The certificate's attestation is not accepted any more.
const REVOKED: u32 = 1_000_610;
const ALWAYS: &str = "always";
const LONGEST: usize = 8192;
/// Enough characters to identify a fault in a list.
const MAX_QUOTED_CHARACTERS: usize = 80;
const MAX_COUNT: u32 = 1_000_000;
/// One hour, in milliseconds.
const MAX_DELAY_MILLISECONDS: u64 = 3_600_000;
/// 64 MiB: far more than any valid response.
const DEFAULT_OVERSIZED: u64 = 64 * 1024 * 1024;
const MAX_OVERSIZED_BYTES: u64 = 1 << 40;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Fault, String> {
        text.parse::<Fault>().map_err(|error| error.to_string())
    }

    #[test]
    fn a_list_says_which_of_its_faults_is_none() {
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
            let refusal = Fault::parse_all(&texts).unwrap_err().to_string();
            assert!(refusal.contains(expected), "{expected}: {refusal}");
            assert!(refusal.len() < 1000, "{refusal}");
        }
    }

    #[test]
    fn every_known_action_is_read_and_written_back() {
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
            "discovery=foreign-key",
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
    fn every_entry_of_the_table_can_be_read() {
        for (name, form, place) in KNOWN {
            let argument = match *name {
                "status" => ":500",
                "set-field" => ":a=1",
                _ if form.starts_with(':') && form.contains('|') => {
                    form.split('|').next().unwrap_or_default()
                }
                _ if form.starts_with(':') => ":1",
                _ => "",
            };
            let leg = Leg::ALL.into_iter().find(|leg| place.has(*leg)).unwrap();
            parse(&format!("{leg}={name}{argument}")).unwrap();
        }
    }

    #[test]
    fn a_count_at_the_end_of_an_argument_is_not_lost() {
        let fault = parse("token=token-type:a*3*always").unwrap();
        assert_eq!(fault.action, Action::TokenType("a*3".into()));
        assert_eq!(fault.times, None);
        assert_eq!(parse(&fault.to_string()).unwrap(), fault);
    }

    #[test]
    fn mistakes_are_answered_with_what_is_known() {
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
        assert!(error.contains("no meaning on issue"), "{error}");
        let error = parse("token=status:abc").unwrap_err();
        assert!(error.contains("status:CODE"), "{error}");
    }

    #[test]
    fn malformed_texts_are_refused() {
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
}
