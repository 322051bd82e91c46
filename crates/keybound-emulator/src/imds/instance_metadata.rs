mod document;

use super::ErrorResponse;
use crate::call::Call;
use crate::faults::VERSIONS_PATH;
use crate::response::{Response, json_response, text_response};
use crate::state::State;
use document::{VERSIONS, document};
use form_urlencoded::parse;
use http::Method;
use serde_json::{Value, json};

/// A path of instance metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum InstanceMetadata {
    /// `/metadata/instance` and its members, as the segments after it.
    Instance(Vec<String>),
    /// `/metadata/versions`
    Versions,
}

/// The form of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Text,
}

/// A rejection: the status and the member `error`.
struct Rejected(u16, &'static str);

impl InstanceMetadata {
    /// The document at a path, with or without a trailing slash.
    pub(super) fn at(path: &str) -> Option<Self> {
        let path = path.strip_suffix('/').unwrap_or(path);
        if path == VERSIONS_PATH {
            return Some(Self::Versions);
        }
        let members = path.strip_prefix("/metadata/instance")?;
        if !members.is_empty() && !members.starts_with('/') {
            return None;
        }
        let members = members.split('/').skip(1).map(str::to_owned);
        Some(Self::Instance(members.collect()))
    }

    /// Responds to a request. Errors have the form of this part of IMDS: one member `error`.
    pub(super) fn respond(self, state: &State, call: &mut Call) -> Result<Response, ErrorResponse> {
        if call.request.method() != Method::GET {
            return Err(ErrorResponse::method_not_allowed(Method::GET));
        }
        Ok(self.read(state, call).unwrap_or_else(|Rejected(status, problem)| {
            call.note("refused", problem);
            let body = match status {
                404 => json!({"error": problem}),
                _ => json!({"error": format!("Bad request. {problem}"), "newest-versions": &VERSIONS[..3]}),
            };
            json_response(status, &body)
        }))
    }

    fn read(self, state: &State, call: &Call) -> Result<Response, Rejected> {
        check_headers(call)?;
        let Self::Instance(members) = self else {
            return Ok(json_response(200, &json!({"apiVersions": VERSIONS})));
        };
        let (version, format) = version_and_format(call)?;
        let document = document(state, version);
        let value = members
            .iter()
            .try_fold(&document, |value, name| member(value, name))
            .ok_or(Rejected(404, "Not found"))?;
        match (value, format) {
            (Value::Object(_) | Value::Array(_), Format::Json) => Ok(json_response(200, value)),
            (Value::Object(_) | Value::Array(_), Format::Text) => Ok(text(&listing(value))),
            (leaf, Format::Text) => Ok(text(leaf.as_str().unwrap_or_default())),
            (_, Format::Json) => Err(Rejected(
                400,
                "Single values are available as text only: use format=text",
            )),
        }
    }
}

fn check_headers(call: &Call) -> Result<(), Rejected> {
    if !call.has_metadata_header() {
        return Err(Rejected(400, "Required metadata header not specified"));
    }
    if call.is_forwarded() {
        return Err(Rejected(400, "X-Forwarded-For header is not allowed"));
    }
    Ok(())
}

fn version_and_format(call: &Call) -> Result<(&'static str, Format), Rejected> {
    let (mut version, mut format) = (None, None);
    for (name, value) in parse(call.request.uri().query().unwrap_or_default().as_bytes()) {
        let repeated = match &*name {
            "api-version" => version.replace(value).is_some(),
            "format" => format.replace(value).is_some(),
            _ => false,
        };
        if repeated {
            return Err(Rejected(400, "A parameter occurs twice in the query"));
        }
    }
    let invalid = "api-version is invalid or was not specified in the request.";
    let version = version.ok_or(Rejected(400, invalid))?;
    let known = VERSIONS.into_iter().find(|known| *known == version);
    let format = match format.as_deref() {
        None | Some("json") => Format::Json,
        Some("text") => Format::Text,
        Some(_) => {
            return Err(Rejected(
                400,
                "The format is not supported: use json or text",
            ));
        }
    };
    Ok((known.ok_or(Rejected(400, invalid))?, format))
}

/// A member of an object, without regard to case, or an element of an array.
fn member<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(members) => members
            .iter()
            .find(|(member, _)| member.eq_ignore_ascii_case(name))
            .map(|(_, value)| value),
        Value::Array(elements) => elements.get(name.parse::<usize>().ok()?),
        _ => None,
    }
}

/// The names of the members, one in a line; those of objects end with a slash.
fn listing(value: &Value) -> String {
    let line = |name: &str, value: &Value| match value {
        Value::Object(_) | Value::Array(_) => format!("{name}/"),
        _ => name.to_owned(),
    };
    let lines: Vec<String> = match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| line(name, value))
            .collect(),
        Value::Array(elements) => elements
            .iter()
            .enumerate()
            .map(|(index, value)| line(&index.to_string(), value))
            .collect(),
        _ => vec![],
    };
    lines.join("\n")
}

fn text(text: &str) -> Response {
    text_response(200, "text/plain; charset=utf-8", text.to_owned())
}
