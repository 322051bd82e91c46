//! The text form of actions: `ACTION[:ARG]`.
use super::known_actions::{ALERTS, FIRST_HANDSHAKE_ALERTS, KNOWN};
use super::status_fault::StatusFault;
use super::{Action, CertificateFault, FaultError, KeyFileFault, Leg, ServerCertificateFault};
use http::HeaderValue;
use std::fmt;

pub(super) fn parse_action(
    leg: Leg,
    name: &str,
    argument: Option<&str>,
) -> Result<Action, FaultError> {
    let mut named = KNOWN.iter().filter(|(known, ..)| *known == name).peekable();
    if named.peek().is_none() {
        return Err(FaultError::new(format!(
            "no such action: {}; known on {leg}: {}",
            name.escape_default(),
            known_on(leg)
        )));
    }
    let Some((_, form, _)) = named.find(|(.., legs)| legs.contains(leg)) else {
        return Err(FaultError::new(format!(
            "{name} is not supported on {leg}; known there: {}",
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
        .filter(|(.., legs)| legs.contains(leg))
        .map(|(name, form, _)| format!("{name}{form}"))
        .collect();
    names.join(", ")
}

/// The action of a known name; `None` if its argument is missing, malformed or unexpected.
fn read_action(leg: Leg, name: &str, argument: Option<&str>) -> Option<Action> {
    let text = argument.filter(|text| !text.is_empty());
    let optional = |make: fn(Option<String>) -> Action| {
        (argument.is_none() || text.is_some()).then(|| make(text.map(str::to_owned)))
    };
    match name {
        "status" => StatusFault::parse(text?).map(Action::Status),
        "delay" => number(text?, MAX_DELAY_MILLISECONDS).map(Action::Delay),
        "redirect" => optional(Action::Redirect).filter(|_| is_header_value(text)),
        "oversized" => match argument {
            None => Some(Action::Oversized(DEFAULT_OVERSIZED)),
            Some(text) => number(text, MAX_OVERSIZED_BYTES).map(Action::Oversized),
        },
        "missing-field" => Some(Action::MissingField(text?.to_owned())),
        "set-field" => {
            let (name, value) = text?.split_once('=')?;
            let value = serde_json::from_str(value).ok()?;
            (!name.is_empty()).then(|| Action::SetField(name.to_owned(), value))
        }
        "server-header" => {
            is_header_value(text).then(|| Some(Action::ServerHeader(Some(text?.to_owned()))))?
        }
        "foreign-endpoint" => optional(Action::ForeignEndpoint),
        "certificate" => named(text?, CERTIFICATES).map(Action::Certificate),
        "aadsts" => read_aadsts(text?),
        "token-type" => Some(Action::TokenType(text?.to_owned())),
        "claims-challenge" => {
            optional(Action::ClaimsChallenge).filter(|_| text.is_none_or(is_json_object))
        }
        "reject-certificate" => read_alert(argument.unwrap_or(ALERTS[0])),
        "revoke-certificate" => {
            let rejection = match argument {
                Some(number) if leg == Leg::Token => read_aadsts(number),
                None if leg == Leg::Token => Some(Action::Aadsts(REVOKED)),
                alert => read_alert(alert.unwrap_or("certificate_revoked")),
            };
            Some(Action::RevokeCertificate(Box::new(rejection?)))
        }
        "key-file" => named(text?, KEY_FILES).map(Action::KeyFile),
        "server-certificate" => named(text?, SERVER_CERTIFICATES).map(Action::ServerCertificate),
        _ if argument.is_none() => named(name, PLAIN),
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
            Self::Redirect(url) => optional(f, "redirect", url),
            Self::Oversized(bytes) => write!(f, "oversized:{bytes}"),
            Self::MissingField(name) => write!(f, "missing-field:{name}"),
            Self::SetField(name, value) => write!(f, "set-field:{name}={value}"),
            Self::ServerHeader(Some(text)) => write!(f, "server-header:{text}"),
            Self::ForeignEndpoint(url) => optional(f, "foreign-endpoint", url),
            Self::Certificate(fault) => write!(f, "certificate:{}", name_of(fault, CERTIFICATES)),
            Self::Aadsts(code) => write!(f, "aadsts:{code}"),
            Self::TokenType(word) => write!(f, "token-type:{word}"),
            Self::ClaimsChallenge(json) => optional(f, "claims-challenge", json),
            Self::RejectCertificate(alert) => write!(f, "reject-certificate:{alert}"),
            Self::RevokeCertificate(rejection) => match **rejection {
                Self::Aadsts(code) => write!(f, "revoke-certificate:{code}"),
                Self::RejectCertificate(alert) => write!(f, "revoke-certificate:{alert}"),
                ref other => write!(f, "revoke-certificate:{other}"),
            },
            Self::KeyFile(fault) => write!(f, "key-file:{}", name_of(fault, KEY_FILES)),
            Self::ServerCertificate(fault) => {
                write!(
                    f,
                    "server-certificate:{}",
                    name_of(fault, SERVER_CERTIFICATES)
                )
            }
            plain => f.write_str(name_of(plain, PLAIN)),
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

/// A whole number without sign or leading zeros, at most `maximum`.
pub(super) fn number(text: &str, maximum: u64) -> Option<u64> {
    let value = text.parse().ok().filter(|value| *value <= maximum)?;
    (text == u64::to_string(&value)).then_some(value)
}

fn is_header_value(text: Option<&str>) -> bool {
    text.is_none_or(|text| HeaderValue::from_str(text).is_ok())
}

fn is_json_object(text: &str) -> bool {
    serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).is_ok()
}

fn named<T: Clone>(text: &str, names: &[(&str, T)]) -> Option<T> {
    let (_, value) = names.iter().find(|(name, _)| *name == text)?;
    Some(value.clone())
}

fn name_of<T: PartialEq>(value: &T, names: &[(&'static str, T)]) -> &'static str {
    names
        .iter()
        .find(|(_, known)| known == value)
        .map_or("", |(name, _)| name)
}

/// The actions without an argument.
const PLAIN: &[(&str, Action)] = &[
    ("hang", Action::Hang),
    ("close", Action::Close),
    ("reset", Action::Reset),
    ("not-http", Action::NotHttp),
    ("garbage", Action::Garbage),
    ("html", Action::Html),
    ("truncated", Action::Truncated),
    ("no-server-header", Action::ServerHeader(None)),
    ("http-endpoint", Action::HttpEndpoint),
    ("invalid-client", Action::InvalidClient),
    ("no-cnf", Action::NoCnf),
    ("other-cnf", Action::OtherCnf),
    ("other-client", Action::OtherClient),
    ("garbage-token", Action::GarbageToken),
    ("expired-token", Action::ExpiredToken),
    ("foreign-key", Action::ForeignKey),
    ("other-tenant-key", Action::OtherTenantKey),
    ("other-key", Action::OtherKey),
    ("never-ask", Action::NeverAsk),
    ("ca-signed-certificate", Action::CaSignedCertificate),
];

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

const KEY_FILES: &[(&str, KeyFileFault)] = &[
    ("missing", KeyFileFault::Missing),
    ("oversized", KeyFileFault::Oversized),
    ("link", KeyFileFault::Link),
    ("other-name", KeyFileFault::OtherName),
    ("other-directory", KeyFileFault::OtherDirectory),
];

const SERVER_CERTIFICATES: &[(&str, ServerCertificateFault)] = &[
    ("untrusted", ServerCertificateFault::Untrusted),
    ("expired", ServerCertificateFault::Expired),
    ("other-name", ServerCertificateFault::OtherName),
];

/// AADSTS1000610: the attestation of the certificate is no longer accepted.
const REVOKED: u32 = 1_000_610;
/// One hour, in milliseconds.
const MAX_DELAY_MILLISECONDS: u64 = 3_600_000;
/// 64 MiB: far more than any valid response.
const DEFAULT_OVERSIZED: u64 = 64 * 1024 * 1024;
const MAX_OVERSIZED_BYTES: u64 = 1 << 40;
