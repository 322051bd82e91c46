use crate::config::Config;
use crate::faults::{Fault, Leg};
use crate::reply::Reply;
use crate::server::Handler as _;
use crate::service::Service;
use crate::service_handler::ServiceHandler;
use crate::state::State;
use crate::testing::{JsonResponse, anonymous, metadata_request, send, state};
use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};
use std::sync::Arc;

async fn control(
    state: &Arc<State>,
    method: &str,
    path: &str,
    body: impl Into<Bytes>,
) -> JsonResponse {
    let secret = state.control_secret.expose();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {secret}"))
        .body(body.into())
        .unwrap();
    send(state, Service::Control, request).await
}

#[tokio::test]
async fn responds_with_404_without_the_secret() {
    let state = state(Config::default());
    let secret = state.control_secret.expose().to_owned();
    assert_eq!(secret.len(), 64);
    let unknown = control(&state, "GET", "/nonsense", "").await;
    for value in [
        None,
        Some("Bearer ".to_owned()),
        Some(secret.clone()),
        Some(format!("Basic {secret}")),
        Some(format!(
            "Bearer {}",
            secret.replace(|digit: char| digit != 'f', "f")
        )),
        Some(format!("Bearer {}", &secret[1..])),
        Some(format!("Bearer {secret}0")),
        Some(format!("Bearer{secret}")),
        Some(format!("Bearer {secret} ")),
    ] {
        for path in [
            "/records",
            "/overview",
            "/counts",
            "/faults",
            "/clock",
            "/keys",
            "/keys/rotate",
            "/nonsense",
            "/?",
            "/?leg=token",
            "//",
            "/index.html",
        ] {
            let mut request = Request::get(path);
            if let Some(value) = &value {
                request = request.header("authorization", value);
            }
            let response = send(
                &state,
                Service::Control,
                request.body(Bytes::new()).unwrap(),
            )
            .await;
            assert_eq!(
                (response.status, &response.body),
                (404, &unknown.body),
                "{path}"
            );
        }
    }
    for scheme in ["Bearer ", "bearer ", "BEARER ", "Bearer   "] {
        let request = Request::get("/records").header("authorization", format!("{scheme}{secret}"));
        let request = request.body(Bytes::new()).unwrap();
        let response = send(&state, Service::Control, request).await;
        assert_eq!(response.status, 200, "{scheme}");
    }
}

#[tokio::test]
async fn serves_the_page_without_the_secret_and_without_data() {
    let state = state(Config::default());
    send(&state, Service::Imds, metadata_request()).await;
    let handler = ServiceHandler::new(Arc::clone(&state), Service::Control);
    let request = Request::get("/").body(Bytes::new()).unwrap();
    let Reply::Full(page) = handler.handle(request, anonymous()).await else {
        panic!("no response");
    };
    assert_eq!(page.status(), 200);
    let header = |name| page.headers()[name].to_str().unwrap();
    assert_eq!(header("content-type"), "text/html; charset=utf-8");
    assert_eq!(header("x-frame-options"), "DENY");
    assert_eq!(header("cache-control"), "no-store");
    assert_eq!(header("cross-origin-resource-policy"), "same-origin");
    assert!(!page.headers().contains_key("access-control-allow-origin"));
    let policy = header("content-security-policy");
    for part in [
        "default-src 'none'; ",
        "frame-ancestors 'none'",
        "form-action 'none'",
        "connect-src 'self'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    let html = std::str::from_utf8(page.body()).unwrap();
    for name in ["script", "style"] {
        let [_, rest] = html.split(&format!("<{name}>")).collect::<Vec<_>>()[..] else {
            panic!("not exactly one <{name}>");
        };
        let (content, _) = rest.split_once(&format!("</{name}>")).unwrap();
        let hash = openssl::base64::encode_block(&openssl::sha::sha256(content.as_bytes()));
        assert!(
            policy.contains(&format!("{name}-src 'sha256-{hash}';")),
            "{policy}"
        );
    }
    assert!(!html.contains("innerHTML") && !html.contains("://"));
    let tenant = state.config.tenant_id.as_str();
    for data in [state.control_secret.expose(), tenant, "getplatformmetadata"] {
        assert!(!html.contains(data), "{data}");
    }
    for (method, status) in [("POST", 404), ("HEAD", 404), ("OPTIONS", 404)] {
        let request = Request::builder().method(method).uri("/");
        let request = request.body(Bytes::new()).unwrap();
        assert_eq!(send(&state, Service::Control, request).await.status, status);
    }
}

#[tokio::test]
async fn returns_addresses_identities_and_faults() {
    let state = state(Config::default());
    let overview = control(&state, "GET", "/overview", "").await;
    assert_eq!(overview.status, 200);
    let body = overview.body;
    let origin = |service| json!(state.endpoints.origin(service));
    for (name, service) in [
        ("imds", Service::Imds),
        ("sts", Service::Sts),
        ("vault", Service::Vault),
    ] {
        assert_eq!(body["services"][name], origin(service));
    }
    assert_eq!(body["tenant_id"], state.config.tenant_id.as_str());
    assert_eq!(body["tenants"][0], body["tenant_id"]);
    assert_eq!(body["tenants"][1], state.config.tenants[0].id.as_str());
    let app = &state.config.tenants[0].apps[0];
    assert_eq!(body["apps"][0]["tenant_id"], body["tenants"][1]);
    assert_eq!(body["apps"][0]["client_id"], app.client_id.as_str());
    let identities = body["identities"].as_array().unwrap();
    assert_eq!(identities.len(), state.config.identities.len());
    assert_eq!(identities[0]["kind"], "system");
    assert!(
        identities[1]["resource_id"]
            .as_str()
            .unwrap()
            .ends_with("/demo")
    );
    for action in body["actions"].as_array().unwrap() {
        let legs = action["legs"].as_array().unwrap();
        assert!(!legs.is_empty(), "{action}");
        let argument = action["argument"].as_str().unwrap();
        if argument.starts_with(':') {
            continue;
        }
        for leg in legs {
            let text = format!(
                "{}={}",
                leg.as_str().unwrap(),
                action["name"].as_str().unwrap()
            );
            let fault: Result<Fault, _> = text.parse();
            assert_eq!(fault.unwrap().to_string().split(':').next(), Some(&*text));
        }
    }
    let shown = body.to_string();
    assert!(!shown.contains(state.control_secret.expose()));
    assert_eq!(
        control(&state, "GET", "/overview?leg=token", "")
            .await
            .status,
        400
    );
    assert_eq!(control(&state, "POST", "/overview", "{}").await.status, 404);
}

#[tokio::test]
async fn returns_and_resets_records_and_counts() {
    let state = state(Config::default());
    send(&state, Service::Imds, metadata_request()).await;
    let mut probe = metadata_request();
    probe.headers_mut().remove("metadata");
    send(&state, Service::Imds, probe).await;
    let all = control(&state, "GET", "/records", "").await.body;
    assert_eq!(
        all["records"].as_array().unwrap().len(),
        2,
        "control requests are not recorded"
    );
    let one = control(&state, "GET", "/records?leg=probe", "").await.body;
    assert_eq!(one["records"][0]["leg"], "probe");
    assert_eq!(one["records"][0]["status"], 400);
    assert_eq!(one["records"].as_array().unwrap().len(), 1);
    for leg in ["metadata", "instance", "unknown"] {
        let found = control(&state, "GET", &format!("/records?leg={leg}"), "").await;
        let expected = usize::from(leg == "metadata");
        assert_eq!(
            found.body["records"].as_array().unwrap().len(),
            expected,
            "{leg}"
        );
    }
    let counts = control(&state, "GET", "/counts", "").await.body;
    assert_eq!(counts, json!({"counts": {"metadata": 1, "probe": 1}}));
    assert_eq!(control(&state, "POST", "/reset", "").await.status, 200);
    assert_eq!(
        control(&state, "GET", "/records", "").await.body,
        json!({"records": []})
    );
    assert_eq!(
        control(&state, "GET", "/counts", "").await.body,
        json!({"counts": {}})
    );
}

#[tokio::test]
async fn adds_lists_and_clears_faults() {
    let mut config = Config::default();
    config.faults.push("token=hang*3".parse().unwrap());
    let state = state(config);
    let body = json!({"faults": ["issue=status:503*1", "vault=close"]}).to_string();
    let shown = control(&state, "POST", "/faults", body).await;
    let expected = json!({"faults": ["token=hang*3", "issue=status:503*1", "vault=close"]});
    assert_eq!((shown.status, &shown.body), (200, &expected));
    assert!(state.faults.next(Leg::Issue).is_some());
    let left = control(&state, "GET", "/faults", "").await.body;
    assert_eq!(left, json!({"faults": ["token=hang*3", "vault=close"]}));
    let cleared = control(&state, "DELETE", "/faults", "").await.body;
    assert_eq!(cleared, json!({"faults": []}));
    assert!(state.faults.next(Leg::Token).is_none());
}

/// A test that asserts that there was no request must not pass because of a mistyped leg.
#[tokio::test]
async fn rejects_invalid_queries_and_lists_the_legs() {
    let state = state(Config::default());
    send(&state, Service::Imds, metadata_request()).await;
    for (query, part) in [
        ("leg=tokens", "known: probe, metadata, issue, instance"),
        ("leg=Metadata", "vault, graph, unknown"),
        ("leg=", "known: probe"),
        ("leg", "known: probe"),
        ("leg=metadata%20", "known: probe"),
        ("leg=token-tls", "known: probe"),
        ("legs=metadata", "at most one parameter, leg"),
        ("Leg=metadata", "at most one parameter, leg"),
        ("leg=metadata&leg=token", "at most one parameter, leg"),
        ("leg=metadata&since=1", "at most one parameter, leg"),
    ] {
        let response = control(&state, "GET", &format!("/records?{query}"), "").await;
        assert_eq!(response.status, 400, "{query}: {response:?}");
        let description = response.text("error_description");
        assert!(description.contains(part), "{query}: {description}");
    }
    for (method, path) in [
        ("GET", "/counts?leg=token"),
        ("GET", "/faults?leg=token"),
        ("DELETE", "/faults?leg=token"),
        ("POST", "/faults?leg=token"),
        ("GET", "/clock?unix"),
        ("POST", "/clock?advance_seconds=5"),
        ("POST", "/reset?faults=true"),
        ("POST", "/keys/retire?kid=x"),
    ] {
        let response = control(&state, method, path, "").await;
        assert_eq!(response.status, 400, "{path}");
        let description = response.text("error_description");
        assert_eq!(
            description, "this endpoint takes no query parameters",
            "{path}"
        );
    }
    let response = control(&state, "POST", "/reset", r#"{"faults": true}"#).await;
    assert_eq!(response.status, 400);
    assert_eq!(state.records.all().len(), 1, "nothing is reset");
    assert_eq!(control(&state, "POST", "/reset", "{}").await.status, 200);
    assert!(state.records.all().is_empty());
}

#[tokio::test]
async fn invalid_bodies_change_nothing() {
    let state = state(Config::default());
    for (path, body, part) in [
        (
            "/faults",
            json!({"faults": ["vault=close", "issue=explode"]}),
            "faults[1], \"issue=explode\": no such action",
        ),
        ("/faults", json!({"fault": []}), "LEG=ACTION"),
        ("/faults", json!(["vault=close"]), "LEG=ACTION"),
        ("/faults", Value::Null, "LEG=ACTION"),
        ("/clock", json!({"advance_seconds": "7"}), "advance_seconds"),
        ("/clock", json!({"advance": 7}), "advance_seconds"),
        ("/keys/rotate", json!({"kid": "x"}), "no body, or {}"),
        ("/keys/retire", json!({"id": "x"}), r#"{"kid": TEXT}"#),
        ("/keys/retire", json!({"kid": "x"}), "no published key"),
    ] {
        let response = control(&state, "POST", path, body.to_string()).await;
        assert_eq!(response.status, 400, "{path} {body}");
        assert!(
            response.text("error_description").contains(part),
            "{response:?}"
        );
    }
    assert!(state.faults.pending().is_empty());
    assert_eq!(state.clock.offset_seconds(), 0);
    assert_eq!(state.keys.entra.published().len(), 2);
}

#[tokio::test]
async fn rotates_and_retires_keys() {
    let state = state(Config::default());
    let keys = |response: JsonResponse| -> Vec<(String, String)> {
        assert_eq!(response.status, 200, "{response:?}");
        let keys = response.body["keys"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        keys.map(|key| (text(&key["kid"]), text(&key["use"])))
            .collect()
    };
    let named = |id: &str, key_use: &str| (id.to_owned(), key_use.to_owned());
    let first = keys(control(&state, "GET", "/keys", "").await);
    let [(signing, _), (next, _)] = &first[..] else {
        panic!("{first:?}");
    };
    assert_eq!(first, [named(signing, "signing"), named(next, "next")]);
    let rotated = keys(control(&state, "POST", "/keys/rotate", "").await);
    assert_eq!(
        rotated[..2],
        [named(signing, "previous"), named(next, "signing")]
    );
    assert_eq!((rotated[2].1.as_str(), rotated.len()), ("next", 3));
    assert_eq!(control(&state, "POST", "/reset", "").await.status, 200);
    assert_eq!(
        keys(control(&state, "GET", "/keys", "").await),
        rotated,
        "reset does not change keys"
    );
    let retired = keys(control(&state, "POST", "/keys/retire", "").await);
    assert_eq!(retired, rotated[1..]);
    let body = json!({"kid": next}).to_string();
    let replaced = keys(control(&state, "POST", "/keys/retire", body).await);
    assert_eq!(replaced[0], named(&rotated[2].0, "signing"));
}

#[tokio::test]
async fn advances_and_resets_the_clock() {
    let state = state(Config::default());
    let before = state.clock.unix();
    let moved = control(&state, "POST", "/clock", r#"{"advance_seconds": 3600}"#)
        .await
        .body;
    assert_eq!(moved["offset_seconds"], 3600);
    assert!(moved["unix"].as_u64().unwrap() >= before + 3600);
    control(&state, "POST", "/clock", r#"{"advance_seconds": -600}"#).await;
    assert_eq!(
        control(&state, "GET", "/clock", "").await.body["offset_seconds"],
        3000
    );
    control(&state, "POST", "/reset", "").await;
    assert_eq!(state.clock.offset_seconds(), 0);
}

#[test]
fn debug_hides_the_secret() {
    let state = state(Config::default());
    assert!(!format!("{:?}", state.control_secret).contains(state.control_secret.expose()));
}
