//! The tokens of each source, and whose they are.
use super::*;

#[tokio::test]
async fn issues_signed_tokens_in_the_form_of_each_source() {
    let state = state(Config::default());
    let number = |value: &Value| value.is_u64();
    let text = |value: &Value| {
        value
            .as_str()
            .is_some_and(|text| text.parse::<u64>().is_ok())
    };
    let date = |value: &Value| {
        value
            .as_str()
            .is_some_and(|text| text.ends_with("M +00:00"))
    };
    let absent = |value: &Value| value.is_null();
    type Check = fn(&Value) -> bool;
    let forms: [(&str, Check, Check, Check); 6] = [
        ("imds", text, text, text),
        ("app-service", text, absent, absent),
        ("app-service-2017", date, absent, absent),
        ("service-fabric", number, absent, absent),
        ("machine-learning", number, absent, absent),
        ("cloud-shell", text, text, text),
    ];
    for (source, expires_on, expires_in, not_before) in forms {
        let response = ask(&state, source, &[]).await;
        assert_eq!(response.status, 200, "{source} {response:?}");
        assert_eq!(response.text("token_type"), "Bearer", "{source}");
        // Unchanged, with the slash.
        assert_eq!(response.text("resource"), "https://vault.azure.net/");
        let body = &response.body;
        assert!(expires_on(&body["expires_on"]), "{source} {body}");
        assert!(expires_in(&body["expires_in"]), "{source} {body}");
        assert!(not_before(&body["not_before"]), "{source} {body}");
        assert_eq!(response.headers["cache-control"], "no-store", "{source}");
        let jwt = token(&response);
        assert_eq!(jwt.text("aud"), Some("https://vault.azure.net/"));
        assert_eq!(jwt.text("appid"), Some(SYSTEM), "{source}");
        assert!(jwt.claims.get("cnf").is_none(), "{source}");
        let verifies = state.keys.entra.verifies(response.text("access_token"));
        assert!(verifies, "{source}");
        let record = state.records.all().pop().unwrap();
        assert_eq!(record.status, Some(200));
        assert_eq!(record.notes["client_id"], SYSTEM);
        assert_eq!(record.notes["resource"], "https://vault.azure.net/");
    }
    let shown = serde_json::to_string(&state.records.all()).unwrap();
    for secret in [
        &state.source_secrets.app_service,
        &state.source_secrets.service_fabric,
        &state.source_secrets.machine_learning,
    ] {
        assert!(!shown.contains(secret.expose()), "{shown}");
    }
    assert!(!shown.contains("eyJ"), "{shown}");
}

#[tokio::test]
async fn dates_are_those_of_the_operating_system() {
    let mut config = Config::default();
    config.compute.os_type = OsType::Linux;
    let state = state(config);
    let response = ask(&state, "app-service-2017", &[]).await;
    let date = response.text("expires_on");
    let (day, time) = date.split_once(' ').unwrap();
    assert!(day.len() == 10 && time.len() == 15, "{date}");
}

#[tokio::test]
async fn selects_the_named_identity() {
    let state = state(Config::default());
    let by_client = format!("+client_id={}", USER.to_uppercase());
    let by_object = format!("+object_id={USER_OBJECT}");
    let cases = [
        ("imds", vec![by_client.clone()]),
        ("imds", vec![by_object.clone()]),
        ("imds", vec![format!("+msi_res_id={USER_RESOURCE}")]),
        ("app-service", vec![by_client]),
        ("app-service", vec![by_object]),
        ("app-service", vec![format!("+principal_id={USER_OBJECT}")]),
        ("app-service", vec![format!("+mi_res_id={USER_RESOURCE}")]),
        ("app-service-2017", vec![format!("+clientid={USER}")]),
        (
            "service-fabric",
            vec![format!("+principalId={USER_OBJECT}")],
        ),
        (
            "machine-learning",
            vec!["-clientid".into(), format!("+clientid={USER}")],
        ),
    ];
    for (source, changes) in cases {
        let changes: Vec<&str> = changes.iter().map(String::as_str).collect();
        let response = ask(&state, source, &changes).await;
        assert_eq!(response.status, 200, "{source} {changes:?} {response:?}");
        let jwt = token(&response);
        assert_eq!(jwt.text("appid"), Some(USER), "{source} {changes:?}");
        assert_eq!(jwt.text("oid"), Some(USER_OBJECT), "{source} {changes:?}");
    }
}

#[tokio::test]
async fn selects_the_only_identity_where_the_service_does() {
    let unable = "Unable to load the proper Managed Identity";
    for (number, source, status, part) in [
        (1, "imds", 200, "access_token"),
        (2, "imds", 400, "Multiple user assigned identities exist"),
        (1, "service-fabric", 200, "access_token"),
        (1, "app-service", 400, unable),
        (2, "app-service", 400, unable),
        (1, "cloud-shell", 400, "no system-assigned identity"),
    ] {
        let state = state(user_assigned(number));
        let response = ask(&state, source, &[]).await;
        let body = response.body.to_string();
        assert_eq!(response.status, status, "{number} {source} {body}");
        assert!(body.contains(part), "{number} {source} {body}");
    }
}

/// A host without a system-assigned identity, with this number of user-assigned ones.
fn user_assigned(number: usize) -> Config {
    let mut config = Config::default();
    config.identities.retain(|it| it.kind == IdentityType::User);
    let template = config.identities[0].clone();
    for index in 1..number {
        let id = |kind: char| format!("5a5a5a5a-0000-4000-8000-0000000000{kind}{index}");
        let guid = |kind| keybound_core::Guid::parse(&id(kind)).unwrap();
        let resource = format!("{}{index}", template.resource_id.clone().unwrap());
        config
            .identities
            .push(Identity::user_assigned(guid('b'), guid('c'), resource));
    }
    config
}

#[tokio::test]
async fn service_fabric_takes_capabilities_and_the_hash_of_a_revoked_token() {
    let state = state(Config::default());
    let refresh = format!("+token_sha256_to_refresh={}", "0a".repeat(32));
    let response = ask(&state, "service-fabric", &["+xms_cc=cp1,cp2", &refresh]).await;
    assert_eq!(token(&response).claims["xms_cc"], json!(["cp1", "cp2"]));
    let record = state.records.all().pop().unwrap();
    assert!(record.query.contains(&refresh[1..]), "{}", record.query);
}
