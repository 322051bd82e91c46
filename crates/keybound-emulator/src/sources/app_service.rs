//! App Service and Functions, and Container Apps: one endpoint with two versions of its protocol.
use super::{DefaultIdentity, Problem, Protocol, as_text};
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
    let protocol = match names_version(call, V2017.api_versions[0]) {
        true => &V2017,
        false => &V2019,
    };
    protocol.respond(state, call).await
}

fn names_version(call: &Call, version: &str) -> bool {
    let query = call.request.uri().query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes())
        .any(|(name, value)| name == "api-version" && value == version)
}

/// `06/20/2026 02:57:58 +00:00`; on Windows `6/20/2026 2:57:58 AM +00:00`.
fn as_date(unix: u64, os: OsType) -> Value {
    let Ok(time) = DateTime::from_unix_duration(Duration::from_secs(unix)) else {
        return Value::Null;
    };
    let (month, day, year) = (time.month(), time.day(), time.year());
    let (hour, minute, second) = (time.hour(), time.minutes(), time.seconds());
    let text = match os {
        OsType::Linux => {
            format!("{month:02}/{day:02}/{year} {hour:02}:{minute:02}:{second:02} +00:00")
        }
        OsType::Windows => {
            let half = if hour < 12 { "AM" } else { "PM" };
            let hour = (hour + 11) % 12 + 1;
            format!("{month}/{day}/{year} {hour}:{minute:02}:{second:02} {half} +00:00")
        }
    };
    text.into()
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
    secret: Some(("x-identity-header", |secrets| &secrets.app_service)),
    api_versions: &["2019-08-01"],
    selectors: &[
        ("client_id", IdentityId::Client),
        ("principal_id", IdentityId::Object),
        ("object_id", IdentityId::Object),
        ("mi_res_id", IdentityId::Resource),
    ],
    optional: &[],
    default_identity: DefaultIdentity::System,
    members: &["access_token", "client_id", "resource", "token_type"],
    expires_on: as_text,
    rejected,
};

pub(crate) const V2017: Protocol = Protocol {
    secret: Some(("secret", |secrets| &secrets.app_service)),
    api_versions: &["2017-09-01"],
    selectors: &[("clientid", IdentityId::Client)],
    members: &["access_token", "resource", "token_type"],
    expires_on: as_date,
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
            assert_eq!(as_date(unix, os), text);
        }
    }
}
