use super::Action;
use super::status_fault::StatusFault;
use crate::endpoints::Endpoints;
use crate::reply::Reply;
use crate::response::{JSON, Response, oauth_error, text_response};
use crate::service::Service;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};
use serde_json::Value;

/// The reply of an action that replaces the response; `None` for other actions.
pub(crate) fn replace(action: &Action, endpoints: &Endpoints) -> Option<Reply> {
    Some(match action {
        Action::Status(status) => Reply::Full(status_response(status)),
        Action::Hang => Reply::Hang,
        Action::Close => Reply::Close,
        Action::Reset => Reply::Reset,
        Action::NotHttp => {
            Reply::NotHttp(Bytes::from_static(b"\x00\xff\x16this is not HTTP\r\n\r\n"))
        }
        Action::Garbage => Reply::Full(text_response(200, JSON, &b"\xff{\"not\": json"[..])),
        Action::Html => Reply::Full(page()),
        Action::Redirect(url) => Reply::Full(redirect(url.as_deref(), endpoints)),
        Action::Oversized(bytes) => Reply::Oversized(text_response(200, JSON, ""), *bytes),
        _ => return None,
    })
}

/// Applies an action that changes the response on any leg.
pub(crate) fn alter(action: Option<&Action>, mut response: Response) -> Reply {
    match action {
        Some(Action::Truncated) => return Reply::Truncated(response),
        Some(Action::MissingField(name)) => {
            change_json(&mut response, |body| {
                if let Some((parent, last)) = parent_of(body, name) {
                    parent.remove(last);
                }
            });
        }
        Some(Action::SetField(name, value)) => {
            change_json(&mut response, |body| {
                if let Some((parent, last)) = parent_of(body, name) {
                    parent.insert(last.to_owned(), value.clone());
                }
            });
        }
        Some(Action::ServerHeader(None)) => {
            response.headers_mut().remove(header::SERVER);
        }
        Some(Action::ServerHeader(Some(text))) => {
            if let Ok(value) = HeaderValue::from_str(text) {
                response.headers_mut().insert(header::SERVER, value);
            }
        }
        _ => {}
    }
    Reply::Full(response)
}

fn status_response(status: &StatusFault) -> Response {
    let mut response = match &status.body {
        Some(body) => text_response(status.code, JSON, body.clone()),
        None => oauth_error(status.code, "injected_fault", "a fault was injected"),
    };
    for (name, value) in &status.headers {
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_str(value),
        ) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// The page and the `Server` header of a captive portal.
fn page() -> Response {
    let mut response = text_response(200, "text/html; charset=utf-8", PAGE);
    let portal = HeaderValue::from_static("captive-portal");
    response.headers_mut().insert(header::SERVER, portal);
    response
}

fn redirect(url: Option<&str>, endpoints: &Endpoints) -> Response {
    let default = || format!("{}/redirected", endpoints.origin(Service::Imds));
    let target = url.map_or_else(default, str::to_owned);
    let mut response = text_response(307, JSON, "");
    if let Ok(target) = HeaderValue::from_str(&target) {
        response.headers_mut().insert(header::LOCATION, target);
    }
    response
}

fn change_json(response: &mut Response, change: impl FnOnce(&mut Value)) {
    if let Ok(mut body) = serde_json::from_slice::<Value>(response.body()) {
        change(&mut body);
        *response.body_mut() = body.to_string().into();
    }
}

/// The object that contains the member with a dotted name, and the last part of the name.
fn parent_of<'a, 'n>(
    body: &'a mut Value,
    name: &'n str,
) -> Option<(&'a mut serde_json::Map<String, Value>, &'n str)> {
    match name.split_once('.') {
        Some((first, rest)) => parent_of(body.get_mut(first)?, rest),
        None => Some((body.as_object_mut()?, name)),
    }
}

const PAGE: &str =
    "<!DOCTYPE html><html><head><title>Sign in</title></head><body>captive portal</body></html>";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::json_response;
    use serde_json::json;

    fn altered(action: Action, body: Value) -> Value {
        let Reply::Full(response) = alter(Some(&action), json_response(200, &body)) else {
            panic!("expected a response");
        };
        serde_json::from_slice(response.body()).unwrap()
    }

    #[test]
    fn removes_and_sets_members_of_nested_objects() {
        let body = json!({"a": {"b": 1, "c": 2}, "d": 3});
        assert_eq!(
            altered(Action::MissingField("a.b".into()), body.clone()),
            json!({"a": {"c": 2}, "d": 3})
        );
        assert_eq!(
            altered(Action::SetField("d".into(), json!("x")), body.clone()),
            json!({"a": {"b": 1, "c": 2}, "d": "x"})
        );
        assert_eq!(
            altered(Action::MissingField("x.y.z".into()), body.clone()),
            body
        );
    }

    #[test]
    fn status_response_has_headers_and_body() {
        let status = StatusFault {
            code: 503,
            headers: vec![("Retry-After".into(), "1".into())],
            body: Some("later".into()),
        };
        let response = status_response(&status);
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "1");
        assert_eq!(&response.body()[..], b"later");
    }
}
