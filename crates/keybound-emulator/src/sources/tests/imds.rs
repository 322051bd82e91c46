//! IMDS v1 beside v2.
use super::*;

#[tokio::test]
async fn imds_of_version_1_requires_no_request_id_and_accepts_a_probe() {
    let state = state(Config::default());
    let probe = Request::get("/metadata/identity/oauth2/token")
        .body(Bytes::new())
        .unwrap();
    let Reply::Full(response) = handle(&state, Service::Imds, probe).await else {
        panic!("expected a response");
    };
    assert_eq!(response.status(), 400);
    assert_eq!(response.headers()["server"], "IMDS/150.870.65.1854");
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(
        body,
        json!({"error": "invalid_request", "error_description": "Required metadata header not specified"})
    );
    // MSAL for Node.js adds a slash.
    let slash = "GET /metadata/identity/oauth2/token/";
    assert_eq!(ask(&state, "imds", &[slash]).await.status, 200);
    for parameter in [
        "+bypass_cache=true",
        "+authority=https%3A%2F%2Flogin.example",
    ] {
        assert_eq!(ask(&state, "imds", &[parameter]).await.status, 200);
    }
}
