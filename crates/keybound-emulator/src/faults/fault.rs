#[cfg(test)]
mod tests;

use super::action_text::parse_action;
use super::{Action, Leg};
use std::fmt;
use std::str::FromStr;

/// A pending fault: `LEG=ACTION[:ARG][*COUNT]`, for example `token=status:503,Retry-After=1*2`.
///
/// Without a count, the fault applies to all requests. The configuration file, the `--fault` option and the control endpoint use the
/// same text form; `Display` writes it. The legs are listed in the guide: the steps of the flow, the sources of bearer tokens, the
/// resources, and TLS handshakes. An unknown leg or action is an error that lists all of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    pub(crate) leg: Leg,
    pub(crate) action: Action,
    pub(crate) times: Option<u32>,
}

/// An invalid fault. The message lists the valid names.
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
        if text.len() > MAX_TEXT_BYTES || text.contains(char::is_control) {
            return Err(FaultError::new(
                "a fault has at most 8192 bytes and no control characters",
            ));
        }
        let (leg, rest) = text.split_once('=').ok_or_else(|| {
            FaultError::new("a fault is LEG=ACTION[:ARG][*COUNT], as in token=status:503*2")
        })?;
        let leg: Leg = leg.parse()?;
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
    /// Parses a list of faults.
    ///
    /// # Errors
    /// The first invalid fault and its problem.
    pub(crate) fn parse_all(texts: &[String]) -> Result<Vec<Self>, FaultError> {
        let named = |(position, text): (usize, &String)| {
            text.parse().map_err(|error: FaultError| {
                let mut escaped = text.escape_default();
                let quoted: String = escaped.by_ref().take(MAX_QUOTED_CHARACTERS).collect();
                let ellipsis = escaped.next().map_or("", |_| "…");
                FaultError::new(format!(
                    "faults[{position}], \"{quoted}{ellipsis}\": {error}"
                ))
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
            // An argument that ends like a count must not be parsed as one.
            None if ends_with_count(&action) => write!(f, "*{ALWAYS}"),
            None => Ok(()),
        }
    }
}

fn split_count(text: &str) -> Result<(&str, Option<u32>), FaultError> {
    let Some((action, count)) = text.rsplit_once('*').filter(|_| ends_with_count(text)) else {
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

fn ends_with_count(text: &str) -> bool {
    text.rsplit_once('*').is_some_and(|(_, count)| {
        count == ALWAYS || (!count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

const ALWAYS: &str = "always";
const MAX_TEXT_BYTES: usize = 8192;
/// Enough characters to identify a fault in a list.
const MAX_QUOTED_CHARACTERS: usize = 80;
const MAX_COUNT: u32 = 1_000_000;
