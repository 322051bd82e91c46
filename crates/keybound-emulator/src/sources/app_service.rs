//! App Service and Functions, and Container Apps: one endpoint with two versions of its protocol.
use super::{DefaultIdentity, Problem, Protocol, SourceToken, respond_with, token_response};
use crate::call::Call;
use crate::config::OsType;
use crate::response::{Response, json_response};
use crate::selector::IdentityId;
use crate::state::State;
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;
use x509_cert::der::DateTime;

/// Handles a request to the identity endpoint.
pub(crate) async fn respond(state: &State, call: &mut Call) -> Response {
    let result = token(state, call).await;
    respond_with(call, result, rejected)
}

async fn token(state: &State, call: &mut Call) -> Result<Response, Problem> {
    let secret = &state.source_secrets.app_service;
    let is_old = asks_for(call, V2017.api_versions[0]);
    let protocol = if is_old { &V2017 } else { &V2019 };
    let request = protocol.read(&state.config.identities, call, Some(secret))?;
    let token = SourceToken::issue(state, call, request).await?;
    let body = match is_old {
        true => json!({
            "access_token": token.access_token,
            "expires_on": date_text(token.expires_on, state.config.compute.os_type),
            "resource": token.resource,
            "token_type": token.token_type,
        }),
        false => json!({
            "access_token": token.access_token,
            "client_id": token.client_id,
            "expires_on": token.expires_on.to_string(),
            "resource": token.resource,
            "token_type": token.token_type,
        }),
    };
    Ok(token_response(&body))
}

fn asks_for(call: &Call, version: &str) -> bool {
    let query = call.request.uri().query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes())
        .any(|(name, value)| name == "api-version" && value == version)
}

/// `06/20/2026 02:57:58 +00:00`; on Windows `6/20/2026 2:57:58 AM +00:00`.
fn date_text(unix: u64, os: OsType) -> String {
    let Ok(time) = DateTime::from_unix_duration(Duration::from_secs(unix)) else {
        return String::new();
    };
    let (month, day, year) = (time.month(), time.day(), time.year());
    let (hour, minute, second) = (time.hour(), time.minutes(), time.seconds());
    match os {
        OsType::Linux => {
            format!("{month:02}/{day:02}/{year} {hour:02}:{minute:02}:{second:02} +00:00")
        }
        OsType::Windows => {
            let half = if hour < 12 { "AM" } else { "PM" };
            let hour = (hour + 11) % 12 + 1;
            format!("{month}/{day}/{year} {hour}:{minute:02}:{second:02} {half} +00:00")
        }
    }
}

fn rejected(problem: &Problem) -> Response {
    let (status, message) = match problem {
        Problem::IdentityUnknown => (
            400,
            "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId.",
        ),
        Problem::IdentityAbsent => (400, "Unable to load the proper Managed Identity."),
        Problem::ResourceInvalid => (
            500,
            "An unexpected error occured while fetching the AAD Token.",
        ),
        _ => (problem.status(), problem.reason()),
    };
    let body = json!({
        "statusCode": status,
        "message": message,
        "correlationId": Value::String(Uuid::new_v4().to_string()),
    });
    json_response(status, &body)
}

/// The path of the endpoint.
pub(crate) const PATH: &str = "/msi/token";

pub(crate) const V2019: Protocol = Protocol {
    path: PATH,
    method: Method::GET,
    requires_metadata: false,
    rejects_forwarded: false,
    secret_header: Some("x-identity-header"),
    api_versions: &["2019-08-01"],
    selectors: &[
        ("client_id", IdentityId::Client),
        ("principal_id", IdentityId::Object),
        ("object_id", IdentityId::Object),
        ("mi_res_id", IdentityId::Resource),
    ],
    optional: &[],
    default_identity: DefaultIdentity::System,
};

pub(crate) const V2017: Protocol = Protocol {
    secret_header: Some("secret"),
    api_versions: &["2017-09-01"],
    selectors: &[("clientid", IdentityId::Client)],
    ..V2019
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_dates_as_each_platform_does() {
        for (unix, os, text) in [
            (1_560_999_478, OsType::Linux, "06/20/2019 02:57:58 +00:00"),
            (
                1_579_152_252,
                OsType::Windows,
                "1/16/2020 5:24:12 AM +00:00",
            ),
            (
                1_579_132_800,
                OsType::Windows,
                "1/16/2020 12:00:00 AM +00:00",
            ),
            (
                1_579_176_000,
                OsType::Windows,
                "1/16/2020 12:00:00 PM +00:00",
            ),
            (
                1_579_219_199,
                OsType::Windows,
                "1/16/2020 11:59:59 PM +00:00",
            ),
        ] {
            assert_eq!(date_text(unix, os), text);
        }
    }
}
