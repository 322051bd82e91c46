//! What each source rejects, and how.
use super::*;
use serde::Deserialize;

/// A request that a source rejects: the changes of a valid one, the status, and a part of the error.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rejection {
    source: String,
    changes: Vec<String>,
    status: u16,
    error: String,
}

#[tokio::test]
async fn rejects_what_the_services_reject() {
    let state = state(Config::default());
    let cases: Vec<Rejection> = serde_json::from_str(include_str!("rejections.json")).unwrap();
    let secret = state.source_secrets.app_service.expose();
    for case in cases {
        let changes: Vec<String> = case
            .changes
            .iter()
            .map(|change| {
                change
                    .replace("{unknown}", UNKNOWN)
                    .replace("{client}", USER)
                    .replace("{object}", USER_OBJECT)
                    .replace("{secret}", secret)
                    .replace("{long}", &"a".repeat(3000))
            })
            .collect();
        let changes: Vec<&str> = changes.iter().map(String::as_str).collect();
        let response = ask(&state, &case.source, &changes).await;
        let body = response.body.to_string();
        let shown = format!("{} {:?} {body}", case.source, case.changes);
        assert_eq!(response.status, case.status, "{shown}");
        assert!(body.contains(&case.error), "{shown}");
        assert!(!body.contains("access_token\""), "{shown}");
        let record = state.records.all().pop().unwrap();
        assert!(record.notes.contains_key("refused"), "{shown}");
        if case.status == 405 {
            let allowed = match &*case.source {
                "cloud-shell" => "POST",
                _ => "GET",
            };
            assert_eq!(response.headers["allow"], allowed, "{shown}");
        }
    }
}

#[tokio::test]
async fn errors_have_the_form_of_each_source() {
    let state = state(Config::default());
    let form = |body: &Value| match body {
        body if body["error"].is_string() => "oauth",
        body if body["error"]["correlationId"].is_string() => "nested with an id",
        body if body["error"]["code"].is_string() => "nested",
        body if body["statusCode"].is_u64() => "plain",
        _ => "unknown",
    };
    for (source, expected) in SOURCES.into_iter().zip([
        "oauth",
        "plain",
        "plain",
        "nested with an id",
        "nested",
        "nested",
    ]) {
        let response = ask(&state, source, &["-resource"]).await;
        assert_eq!(form(&response.body), expected, "{source}");
    }
}

const UNKNOWN: &str = "00000000-0000-4000-8000-000000000000";
