use super::action_text::number;
use http::{HeaderName, HeaderValue};
use std::fmt;

/// A response with a status, headers and a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StatusFault {
    pub code: u16,
    /// Valid HTTP names and values.
    pub headers: Vec<(String, String)>,
    /// Default: a JSON error.
    pub body: Option<String>,
}

impl StatusFault {
    /// `CODE[,HEADER=VALUE]…[,body=TEXT]`. A part without `=` belongs to the previous value, so that dates can contain commas.
    pub(super) fn parse(text: &str) -> Option<Self> {
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
            HeaderName::from_bytes(name.as_bytes())
                .is_ok_and(|name| !FRAMING.contains(&name.as_str()))
                && HeaderValue::from_str(value).is_ok()
        });
        legal.then_some(Self {
            code: code.try_into().ok()?,
            headers,
            body,
        })
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

/// Headers that the listener sets itself.
const FRAMING: &[&str] = &["content-length", "transfer-encoding", "connection"];
