//! Requests that are refused.
use super::*;

#[tokio::test]
async fn rejects_malformed_requests_with_aadsts_codes() {
    let services = TestServices::start().await;
    let binding = services.binding();
    let long = format!("https://{}/.default", "a".repeat(4000));
    let changed: [(&str, Option<&str>, u64, &str); 25] = [
        ("grant_type", None, 900_144, "invalid_request"),
        ("grant_type", Some(""), 900_144, "invalid_request"),
        (
            "grant_type",
            Some("password"),
            70_003,
            "unsupported_grant_type",
        ),
        ("client_id", None, 900_144, "invalid_request"),
        (
            "client_id",
            Some("somebody"),
            700_016,
            "unauthorized_client",
        ),
        (
            "client_id",
            Some("00000000-0000-0000-0000-000000000000"),
            700_016,
            "unauthorized_client",
        ),
        ("scope", None, 900_144, "invalid_request"),
        ("scope", Some(VAULT), 1_002_012, "invalid_scope"),
        ("scope", Some("/.default"), 1_002_012, "invalid_scope"),
        (
            "scope",
            Some("https://a/.default https://b/.default"),
            70_011,
            "invalid_scope",
        ),
        ("scope", Some(" "), 70_011, "invalid_scope"),
        ("scope", Some(&long), 70_011, "invalid_scope"),
        (
            "scope",
            Some("https://management.azure.com/.default"),
            392_196,
            "invalid_request",
        ),
        (
            "scope",
            Some("https://Management.azure.com//.default"),
            392_196,
            "invalid_request",
        ),
        ("token_type", Some("pop"), 9_002_313, "invalid_request"),
        ("token_type", Some("Bearer"), 9_002_313, "invalid_request"),
        ("token_type", Some("MTLS_POP"), 9_002_313, "invalid_request"),
        ("token_type", Some(" bearer"), 9_002_313, "invalid_request"),
        ("token_type", Some(""), 9_002_313, "invalid_request"),
        ("client_assertion", Some("x"), 900_144, "invalid_request"),
        ("req_cnf", Some("x"), 9_002_313, "invalid_request"),
        ("claims", Some("{"), 9_002_313, "invalid_request"),
        (
            "claims",
            Some(r#"{"access_token":[]}"#),
            9_002_313,
            "invalid_request",
        ),
        (
            "claims",
            Some(r#"{"access_token":{"xms_cc":{"values":"cp1"}}}"#),
            9_002_313,
            "invalid_request",
        ),
        (
            "claims",
            Some(r#"{"access_token":{"xms_cc":{"values":[7]}}}"#),
            9_002_313,
            "invalid_request",
        ),
    ];
    for (name, value, number, error) in changed {
        let mut form = services.form(VAULT);
        form.retain(|(known, _)| *known != name);
        form.extend(value.map(|value| (name, value.to_owned())));
        let response = services.post_form(Some(&binding), &form).await;
        assert_eq!(
            (response.status, code(&response)),
            (400, number),
            "{name} {value:?}"
        );
        assert_eq!(response.json()["error"], error, "{name} {value:?}");
    }
    let mut doubled = services.form(VAULT);
    doubled.extend(services.form("https://graph.microsoft.com"));
    assert_eq!(
        code(&services.post_form(Some(&binding), &doubled).await),
        9_000_411
    );
}

#[tokio::test]
async fn rejects_wrong_tenants_methods_and_content_types() {
    let services = TestServices::start().await;
    let mut client = services
        .connect(services.sts, BOTH[0], Some(&services.binding()))
        .await;
    let other = "/00000000-0000-0000-0000-000000000000/oauth2/v2.0/token";
    assert_eq!(code(&client.post(other, FORM, b"").await.unwrap()), 90_002);
    assert_eq!(
        code(
            &client
                .post("/common/oauth2/v2.0/token", FORM, b"")
                .await
                .unwrap()
        ),
        90_002
    );
    let path = format!("/{}/oauth2/v2.0/token", services.tenant());
    assert_eq!(code(&client.get(&path, "").await.unwrap()), 900_561);
    let json = "Content-Type: application/json\r\n";
    let form = b"grant_type=client_credentials";
    assert_eq!(
        code(&client.post(&path, json, form).await.unwrap()),
        900_144
    );
    for path in ["/", "/x", "/x/y", "//oauth2/v2.0/token/x"] {
        assert_eq!(client.get(path, "").await.unwrap().status, 404, "{path}");
    }
}

#[tokio::test]
async fn error_response_has_the_ids_of_the_request() {
    let services = TestServices::start().await;
    let mut client = services.connect(services.sts, BOTH[1], None).await;
    let id = "11111111-2222-3333-4444-555555555555";
    let path = format!("/{}/oauth2/v2.0/token", services.tenant());
    let headers = format!("{FORM}x-ms-client-request-id: {id}\r\n");
    let response = client.post(&path, &headers, b"").await.unwrap();
    let body = response.json();
    assert_eq!(body["correlation_id"], id);
    let description = body["error_description"].as_str().unwrap();
    let trace = body["trace_id"].as_str().unwrap();
    let stamp = body["timestamp"].as_str().unwrap();
    let end = format!(" Trace ID: {trace} Correlation ID: {id} Timestamp: {stamp}");
    assert!(
        description.starts_with("AADSTS900144: ") && description.ends_with(&end),
        "{description}"
    );
    assert!(
        body["error_uri"]
            .as_str()
            .unwrap()
            .ends_with("/error?code=900144")
    );
    assert!(response.head.contains(&format!("x-ms-request-id: {trace}")));
    let record = services.state.records.all().pop().unwrap();
    let note = &record.notes["refused"];
    assert!(description.starts_with(note.as_str()), "{note}");
    assert!(note.len() > "AADSTS900144: ".len(), "{note}");
}
