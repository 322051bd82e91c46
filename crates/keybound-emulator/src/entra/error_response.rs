use crate::call::Call;
use crate::response::{Response, json_response};
use crate::service::Service;
use crate::state::State;
use http::HeaderValue;
use keybound_core::redact;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::time::Duration;
use uuid::Uuid;
use x509_cert::der::DateTime;

/// The error response of Entra: an OAuth error (RFC 6749 section 5.2) with an AADSTS code.
#[derive(Debug)]
pub(super) struct ErrorResponse {
    /// `None`: `invalid_client` without a code, as some backends respond.
    code: Option<u32>,
    message: Cow<'static, str>,
}

impl ErrorResponse {
    pub(super) fn new(code: u32, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code: Some(code),
            message: message.into(),
        }
    }

    /// `invalid_client` without a code.
    pub(super) fn without_code() -> Self {
        Self {
            code: None,
            message: "The client could not be authenticated.".into(),
        }
    }

    /// The error that a fault injects.
    pub(super) fn injected(code: u32) -> Self {
        let message = match code {
            1_000_610..=1_000_614 => {
                "The attestation of the client certificate is no longer accepted."
            }
            392_196 => NOT_BOUND,
            392_200 => NO_CERTIFICATE,
            1_000_901 => TOKEN_NOT_AFTER,
            1_000_502 => NOT_VALID_NOW,
            3_921_996 => TENANT_NOT_ALLOWED,
            500_181 => OTHER_CERTIFICATE,
            51_000 => "Client authentication by mutual TLS is disabled.",
            _ => "A fault was injected.",
        };
        Self::new(code, message)
    }

    /// The response, with the ids by which the request is found in logs.
    pub(super) fn respond(&self, state: &State, call: &mut Call) -> Response {
        let trace_id = Uuid::new_v4().to_string();
        let correlation_id = call
            .client_request_id()
            .map_or_else(|| Uuid::new_v4().to_string(), |id| id.to_string());
        let timestamp = timestamp(state.clock.unix());
        let prefix = self.code.map(|code| format!("AADSTS{code}: "));
        let description = format!(
            "{}{} Trace ID: {trace_id} Correlation ID: {correlation_id} Timestamp: {timestamp}",
            prefix.unwrap_or_default(),
            self.message
        );
        let mut body = json!({
            "error": self.error(),
            "error_description": description,
            "timestamp": timestamp,
            "trace_id": trace_id,
            "correlation_id": correlation_id,
        });
        if let Some(code) = self.code {
            let sts = state.endpoints.origin(Service::Sts);
            body["error_codes"] = json!([code]);
            body["error_uri"] = Value::String(format!("{sts}/error?code={code}"));
        }
        call.note("refused", self.note());
        let status = if self.error() == "invalid_client" {
            401
        } else {
            400
        };
        let mut response = json_response(status, &body);
        if let Ok(id) = HeaderValue::from_str(&trace_id) {
            response.headers_mut().insert("x-ms-request-id", id);
        }
        response
    }

    fn note(&self) -> String {
        let message = redact(&self.message);
        match self.code {
            Some(code) => format!("AADSTS{code}: {message}"),
            None => format!("{}: {message}", self.error()),
        }
    }

    fn error(&self) -> &'static str {
        match self.code {
            None
            | Some(
                392_200
                | 700_024
                | 700_027
                | 500_181
                | 51_000
                | 7_000_215
                | 1_000_502
                | 1_000_610..=1_000_614,
            ) => "invalid_client",
            Some(700_016) => "unauthorized_client",
            Some(70_003) => "unsupported_grant_type",
            Some(70_011 | 1_002_012) => "invalid_scope",
            Some(500_011) => "invalid_resource",
            Some(90_033 | 90_006) => "temporarily_unavailable",
            Some(_) => "invalid_request",
        }
    }
}

/// `2026-01-31 12:00:00Z`.
fn timestamp(unix: u64) -> String {
    DateTime::from_unix_duration(Duration::from_secs(unix))
        .map(|time| time.to_string().replace('T', " "))
        .unwrap_or_default()
}

pub(super) const OTHER_CERTIFICATE: &str =
    "The TLS certificate provided does not match the certificate in the token.";
pub(super) const NO_CERTIFICATE: &str = "Client certificate is missing from the request.";
pub(super) const NOT_VALID_NOW: &str =
    "The provided certificate is not within its specified validity window.";
pub(super) const TOKEN_NOT_AFTER: &str = "The provided certificate cannot be used for requesting tokens. \
     The value of token_not_after extension on the certificate is in the past.";
pub(super) const TENANT_NOT_ALLOWED: &str = "The tenant is not allowed to request certificate-bound tokens for managed \
     identities. The error code is MtlsMsiTenantNotAllowedForBoundToken.";
pub(super) const NOT_BOUND: &str = "The resource application does not support certificate-bound tokens. Ask for a token of type 'bearer'. \
     The error code is MtlsClientPopTokenNotSupportedByResource.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_timestamps_as_entra_does() {
        assert_eq!(timestamp(1_769_861_045), "2026-01-31 12:04:05Z");
    }
}
