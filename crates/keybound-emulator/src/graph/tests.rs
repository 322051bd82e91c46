use super::AUDIENCE;
use crate::config::Config;
use crate::entra::testing::{BOTH, TestServices};
use crate::server::testing::self_signed;
use serde_json::json;

const LIST: &str = "/v1.0/applications?$top=5";

fn pop(token: &str) -> String {
    format!("Authorization: mtls_pop {token}\r\n")
}

#[tokio::test]
async fn lists_applications_with_a_bound_token() {
    let services = TestServices::start().await;
    let binding = services.binding();
    let token = services.bound_token(&binding, AUDIENCE).await;
    for version in BOTH {
        let mut client = services
            .connect(services.graph, version, Some(&binding))
            .await;
        for (path, length) in [
            (LIST, 2),
            ("/v1.0/applications", 2),
            ("/v1.0/applications?%24top=1", 1),
        ] {
            let response = client.get(path, &pop(&token)).await.unwrap();
            assert_eq!(response.status, 200, "{}", response.text());
            assert_eq!(response.json()["value"].as_array().unwrap().len(), length);
        }
    }
}

#[tokio::test]
async fn rejects_requests_without_valid_token_or_certificate() {
    let services = TestServices::start().await;
    let binding = services.binding();
    let token = services.bound_token(&binding, AUDIENCE).await;
    let vault = services.bound_token(&binding, crate::vault::AUDIENCE).await;
    let bearer = services.bearer_token(&binding, AUDIENCE).await;
    for (pair, headers, part) in [
        (Some(&binding), String::new(), "Access token is empty"),
        (None, pop(&token), "no client certificate"),
        (
            Some(&services.binding()),
            pop(&token),
            "not the one that the token is bound to",
        ),
        (Some(&self_signed("me", 1)), pop(&token), "not accepted"),
        (Some(&binding), pop(&vault), "Invalid audience"),
        (Some(&binding), pop(&bearer), "not bound to a certificate"),
        (
            Some(&binding),
            format!("Authorization: Bearer {token}\r\n"),
            "presented as mtls_pop",
        ),
    ] {
        let mut client = services.connect(services.graph, BOTH[1], pair).await;
        let response = client.get(LIST, &headers).await.unwrap();
        assert_eq!(response.status, 401);
        assert_eq!(
            response.json()["error"]["code"],
            "InvalidAuthenticationToken"
        );
        assert!(response.text().contains(part), "{}", response.text());
        assert!(
            response.head.contains("www-authenticate: bearer"),
            "{}",
            response.head
        );
    }
}

#[tokio::test]
async fn missing_permission_responds_with_403() {
    let mut config = Config::default();
    config.graph.forbidden = true;
    let services = TestServices::with(config).await;
    let binding = services.binding();
    let token = services.bound_token(&binding, AUDIENCE).await;
    let mut client = services
        .connect(services.graph, BOTH[1], Some(&binding))
        .await;
    let response = client.get(LIST, &pop(&token)).await.unwrap();
    assert_eq!(
        (response.status, &response.json()["error"]["code"]),
        (403, &json!("Authorization_RequestDenied"))
    );
    assert_eq!(client.get(LIST, "").await.unwrap().status, 401);
}

#[tokio::test]
async fn never_ask_fault_requests_no_certificate() {
    let services = TestServices::start().await;
    let binding = services.binding();
    let token = services.bound_token(&binding, AUDIENCE).await;
    for version in BOTH {
        services.fault("graph=never-ask*1");
        let mut client = services
            .connect(services.graph, version, Some(&binding))
            .await;
        let response = client.get(LIST, &pop(&token)).await.unwrap();
        assert!(
            response.text().contains("no client certificate"),
            "{}",
            response.text()
        );
        let mut client = services
            .connect(services.graph, version, Some(&binding))
            .await;
        assert_eq!(client.get(LIST, &pop(&token)).await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn checks_page_size_path_and_method_and_sends_claims_challenge() {
    let services = TestServices::start().await;
    let binding = services.binding();
    let token = services.bound_token(&binding, AUDIENCE).await;
    let mut client = services
        .connect(services.graph, BOTH[0], Some(&binding))
        .await;
    for (path, status) in [
        ("/v1.0/applications?$top=0", 400),
        ("/v1.0/applications?$top=1000", 400),
        ("/v1.0/applications?$top=x", 400),
        ("/v1.0/users", 404),
    ] {
        assert_eq!(
            client.get(path, &pop(&token)).await.unwrap().status,
            status,
            "{path}"
        );
    }
    assert_eq!(
        client.post(LIST, &pop(&token), b"").await.unwrap().status,
        405
    );
    services.fault("graph=claims-challenge*1");
    let response = client.get(LIST, &pop(&token)).await.unwrap();
    assert_eq!(response.status, 401);
    assert!(
        response
            .head
            .contains(r#"error="insufficient_claims", claims=""#),
        "{}",
        response.head
    );
}
