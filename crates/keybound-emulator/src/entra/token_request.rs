use super::error_response::ErrorResponse;
use crate::call::Call;
use http::Method;
use keybound_core::{Claims, Guid};
use serde_json::Value;
use std::collections::BTreeMap;

/// A well-formed token request. The client is not authenticated yet.
pub(super) struct TokenRequest {
    pub(super) client_id: Guid,
    /// The scope without `/.default`.
    pub(super) resource: String,
    /// Whether a token bound to the client certificate is requested; otherwise it is a bearer token.
    pub(super) bound: bool,
    /// How an app registration authenticates; `None`: by the certificate of the connection.
    pub(super) assertion: Option<Assertion>,
    /// `access_token.xms_cc.values` of the claims.
    pub(super) capabilities: Vec<String>,
}

/// A client assertion (RFC 7521 section 4.2).
pub(super) struct Assertion {
    pub(super) text: String,
    /// Whether it is bound to the certificate of the connection.
    pub(super) bound: bool,
}

impl TokenRequest {
    pub(super) fn read(call: &Call) -> Result<Self, ErrorResponse> {
        if call.request.method() != Method::POST {
            return Err(ErrorResponse::new(
                900_561,
                format!(
                    "The endpoint only accepts POST requests. Received a {} request.",
                    call.request.method()
                ),
            ));
        }
        let form = Form::read(call)?;
        let grant_type = form.required("grant_type")?;
        if grant_type != "client_credentials" {
            return Err(ErrorResponse::new(
                70_003,
                "The app requested an unsupported grant type. Managed identities and app registrations use client_credentials.",
            ));
        }
        let client_id = form.required("client_id")?;
        let resource = resource(form.required("scope")?)?;
        for secret in ["client_secret", "req_cnf"] {
            if form.0.contains_key(secret) {
                return Err(malformed(format!(
                    "A client that authenticates by its TLS certificate or an assertion must not send '{secret}'."
                )));
            }
        }
        let assertion = form.assertion()?;
        let bound = match form.0.get("token_type").map(String::as_str) {
            // Managed identities send the type, confidential clients omit it.
            None | Some("bearer") => false,
            Some("mtls_pop") => true,
            Some(_) => {
                return Err(malformed(
                    "The value of 'token_type' is not supported here.",
                ));
            }
        };
        if bound && assertion.as_ref().is_some_and(|assertion| !assertion.bound) {
            return Err(malformed(
                "A bound token requires an assertion that is bound to the client certificate (jwt-pop).",
            ));
        }
        let claims = form.0.get("claims").map(String::as_str);
        Ok(Self {
            client_id: Guid::parse(client_id).ok_or_else(unknown_client)?,
            resource,
            bound,
            assertion,
            capabilities: capabilities(claims)?,
        })
    }
}

pub(super) fn unknown_client() -> ErrorResponse {
    ErrorResponse::new(
        700_016,
        "The application was not found in the directory. Check its identifier and the tenant.",
    )
}

/// The parameters of the form, without duplicates.
struct Form(BTreeMap<String, String>);

impl Form {
    fn read(call: &Call) -> Result<Self, ErrorResponse> {
        let mut parameters = BTreeMap::new();
        if call.has_content_type("application/x-www-form-urlencoded") {
            for (name, value) in form_urlencoded::parse(call.request.body()) {
                if parameters
                    .insert(name.into_owned(), value.into_owned())
                    .is_some()
                {
                    return Err(ErrorResponse::new(
                        9_000_411,
                        "The request is not properly formatted. A parameter is duplicated.",
                    ));
                }
            }
        }
        Ok(Self(parameters))
    }

    fn assertion(&self) -> Result<Option<Assertion>, ErrorResponse> {
        let names = ["client_assertion", "client_assertion_type"];
        if !names.iter().any(|name| self.0.contains_key(*name)) {
            return Ok(None);
        }
        let bound = match self.required("client_assertion_type")? {
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" => false,
            "urn:ietf:params:oauth:client-assertion-type:jwt-pop" => true,
            _ => {
                return Err(malformed(
                    "The value of 'client_assertion_type' is not supported here.",
                ));
            }
        };
        Ok(Some(Assertion {
            text: self.required("client_assertion")?.to_owned(),
            bound,
        }))
    }

    fn required(&self, name: &str) -> Result<&str, ErrorResponse> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| {
                ErrorResponse::new(
                    900_144,
                    format!("The request body must contain the following parameter: '{name}'."),
                )
            })
    }
}

/// The resource of a scope that ends with `/.default`.
fn resource(scope: &str) -> Result<String, ErrorResponse> {
    if scope.split_whitespace().count() != 1 || scope.len() > MAX_SCOPE_BYTES {
        return Err(ErrorResponse::new(
            70_011,
            "The provided value for the input parameter 'scope' is not valid. It must name one resource.",
        ));
    }
    let resource = scope
        .trim()
        .strip_suffix("/.default")
        .filter(|resource| !resource.is_empty());
    resource.map(str::to_owned).ok_or_else(|| {
        ErrorResponse::new(
            1_002_012,
            "The provided value for scope is not valid. Client credential flows must have a scope value with \
             /.default suffixed to the resource identifier (application ID URI).",
        )
    })
}

fn capabilities(claims: Option<&str>) -> Result<Vec<String>, ErrorResponse> {
    let Some(claims) = claims else {
        return Ok(vec![]);
    };
    let wrong = || malformed("The value of 'claims' is not a claims request.");
    Claims::parse(claims).map_err(|_| wrong())?;
    let claims: Value = serde_json::from_str(claims).map_err(|_| wrong())?;
    let access_token = match claims.get("access_token") {
        None => return Ok(vec![]),
        Some(member) if member.is_object() => member,
        Some(_) => return Err(wrong()),
    };
    let Some(requested) = access_token.get("xms_cc") else {
        return Ok(vec![]);
    };
    let values = requested.get("values").and_then(Value::as_array);
    values
        .ok_or_else(wrong)?
        .iter()
        .map(|value| value.as_str().map(str::to_owned).ok_or_else(wrong))
        .collect()
}

fn malformed(message: impl Into<std::borrow::Cow<'static, str>>) -> ErrorResponse {
    ErrorResponse::new(9_002_313, message)
}

const MAX_SCOPE_BYTES: usize = 2048;
