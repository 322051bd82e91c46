use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};

/// The response of a service.
pub(crate) type Response = http::Response<Bytes>;

/// A response with a JSON body.
pub(crate) fn json_response(status: u16, body: &Value) -> Response {
    text_response(status, JSON, body.to_string())
}

/// An error in the form of OAuth (RFC 6749 section 5.2), which IMDS has too.
pub(crate) fn oauth_error(status: u16, error: &str, description: &str) -> Response {
    json_response(
        status,
        &json!({"error": error, "error_description": description}),
    )
}

/// An error in the form of Azure's REST APIs.
pub(crate) fn azure_error(status: u16, code: &str, message: &str) -> Response {
    json_response(
        status,
        &json!({"error": {"code": code, "message": message}}),
    )
}

/// The description in an error response, of any of the forms of the services.
pub(crate) fn error_text(response: &Response) -> Option<String> {
    let body: Value = serde_json::from_slice(response.body()).ok()?;
    let texts = [
        &body["error_description"],
        &body["error"]["message"],
        &body["message"],
    ];
    let text = texts.into_iter().find_map(Value::as_str);
    text.map(str::to_owned)
}

/// The response of all services for an unknown path.
pub(crate) fn not_found() -> Response {
    oauth_error(404, "not_found", "no such resource")
}

/// Adds the header `Allow` of a response with status 405.
pub(crate) fn allow(mut response: Response, method: &Method) -> Response {
    if let Ok(value) = HeaderValue::from_str(method.as_str()) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    response
}

/// A response with a body of this content type.
pub(crate) fn text_response(
    status: u16,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

pub(crate) const JSON: &str = "application/json; charset=utf-8";
