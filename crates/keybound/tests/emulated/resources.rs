//! Calls by the resource client, which refreshes tokens, handles challenges and follows redirects.
use bytes::Bytes;
use http_body_util::{BodyExt as _, StreamBody};
use keybound::http::ResponseBody;
use keybound::http::{Method, Request, ResourceClient, Response};
use keybound::{
    AccessToken, Claims, ErrorKind, KeyRequirements, ManagedIdentityClient, Stage, TokenRequest,
};
use keybound_emulator::{Config, Record};
use keybound_testing::emulated::{GRAPH, TestHost, VAULT, assert_failed, attested, failure};
use std::time::Duration;

fn vault(client: &ManagedIdentityClient) -> ResourceClient {
    ResourceClient::new(client, attested()).unwrap()
}

fn graph(client: &ManagedIdentityClient) -> ResourceClient {
    let request = TokenRequest::pop(GRAPH, KeyRequirements::attested());
    ResourceClient::new(client, request).unwrap()
}

fn records(host: &TestHost, leg: &str) -> Vec<Record> {
    let records = host.emulator.records().into_iter();
    records.filter(|record| record.leg == leg).collect()
}

fn token(response: &Response) -> &AccessToken {
    response.token()
}

fn thumbprint(token: &AccessToken) -> String {
    let certificate = token.binding().unwrap().certificate();
    certificate.thumbprints().x5t_s256.to_string()
}

#[tokio::test]
async fn reads_a_secret_with_one_token_and_one_handshake() {
    let host = TestHost::new();
    let vault = vault(&host.client());
    for reused in [false, true, true] {
        let response = vault.get(host.secret_url()).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let connection = response.connection().unwrap();
        assert_eq!(connection.reused, reused);
        let secret: serde_json::Value = response.json().await.unwrap();
        assert_eq!(secret["value"], "only the holder of the key reads this");
    }
    assert_eq!(
        (
            host.count("issue"),
            host.count("token"),
            host.count("vault-tls")
        ),
        (1, 1, 1)
    );
}

#[tokio::test]
async fn new_calls_use_the_new_certificate_and_calls_in_progress_finish_on_the_old_one() {
    let host = TestHost::new();
    let client = host.client();
    let graph = graph(&client);
    let first = graph.get(host.graph_url()).send().await.unwrap();
    let old = thumbprint(token(&first));
    // The response to one call is pending; of another, only the head was read.
    host.inject("graph=delay:300");
    let in_progress = tokio::spawn(graph.get(host.graph_url()).send());
    while host.count("graph") < 2 {
        tokio::task::yield_now().await;
    }
    let claims = Claims::parse(r#"{"access_token":{}}"#).unwrap();
    let request = TokenRequest::pop(GRAPH, KeyRequirements::attested());
    client.acquire_token(&request.claims(claims)).await.unwrap();
    let next = graph.get(host.graph_url()).send().await.unwrap();
    let new = thumbprint(token(&next));
    assert_ne!(old, new);
    let in_progress = in_progress.await.unwrap().unwrap();
    assert_eq!(
        (next.status(), in_progress.status()),
        (200.try_into().unwrap(), 200.try_into().unwrap())
    );
    assert_eq!(thumbprint(token(&in_progress)), old);
    for response in [first, next, in_progress] {
        assert!(!response.bytes_limited(4096).await.unwrap().is_empty());
    }
    let calls: Vec<_> = records(&host, "graph")
        .into_iter()
        .map(|record| (record.client_certificate.unwrap(), record.status))
        .collect();
    assert_eq!(
        calls,
        [(old.clone(), Some(200)), (old, Some(200)), (new, Some(200))]
    );
}

#[tokio::test]
async fn handles_a_claims_challenge_within_the_call() {
    let host = TestHost::new();
    let vault = vault(&host.client());
    let claims = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    for url in [host.secret_url(), host.secret_url()] {
        host.inject(&format!("vault=claims-challenge:{claims}"));
        let response = vault.get(&url).send().await.unwrap();
        assert_eq!(response.status(), 200);
    }
    // The second challenge has the claims of the current token, which is replaced nevertheless.
    assert_eq!((host.count("issue"), host.count("token")), (3, 3));
    host.inject(&format!("vault=claims-challenge:{claims}*2"));
    let response = vault.get(host.secret_url()).send().await.unwrap();
    assert_eq!(response.status(), 401);
    assert!(response.headers().contains_key("www-authenticate"));
}

#[tokio::test]
async fn retries_a_failed_binding_on_a_new_connection() {
    let host = TestHost::new();
    let vault = vault(&host.client());
    let error = r#"{"error":{"code":"Unauthorized","message":"[MtlsCnfClaimRequestDataValidationFailed]"}}"#;
    // Opens a connection on which the certificate was requested.
    let first = vault.get(host.secret_url()).send().await.unwrap();
    first.bytes_limited(4096).await.unwrap();
    host.inject(&format!("vault=status:401,body={error}"));
    let response = vault.get(host.secret_url()).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let connection = response.connection().unwrap();
    assert!(!connection.reused);
    assert_eq!((host.count("vault"), host.count("vault-tls")), (3, 2));
    assert_eq!(host.count("token"), 1, "the token is unchanged");
}

#[tokio::test]
async fn reports_a_server_that_never_requests_the_certificate() {
    let host = TestHost::new();
    let vault = vault(&host.client());
    host.inject("vault=never-ask");
    let error = vault.get(host.secret_url()).send().await.unwrap_err();
    let kind = ErrorKind::ClientCertificateNotRequested;
    assert_failed(&error, kind, Stage::Resource);
    assert_eq!(
        vault.get(host.secret_url()).send().await.unwrap().status(),
        200
    );
}

#[tokio::test]
async fn token_is_sent_to_its_origin_only() {
    let host = TestHost::new();
    let vault = vault(&host.client());
    host.inject("vault=redirect:/secrets/demo-secret?api-version=7.4");
    let response = vault.get(host.secret_url()).send().await.unwrap();
    assert_eq!((response.status().as_u16(), host.count("vault")), (200, 2));
    for elsewhere in [host.graph_url(), "https://localhost:1/".into()] {
        host.inject(&format!("vault=redirect:{elsewhere}"));
        let response = vault.get(host.secret_url()).send().await.unwrap();
        assert_eq!(response.status(), 307);
        assert_eq!(response.headers()["location"], elsewhere);
    }
    assert_eq!(host.count("graph") + host.count("graph-tls"), 0);
}

#[tokio::test]
async fn bearer_token_is_sent_without_a_certificate() {
    let host = TestHost::new();
    let request = TokenRequest::bearer_over_mtls(VAULT, KeyRequirements::attested());
    let vault = ResourceClient::new(&host.client(), request).unwrap();
    let response = vault.get(host.secret_url()).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(token(&response).binding().is_none());
    let record = records(&host, "vault").pop().unwrap();
    assert_eq!(record.client_certificate, None);
    assert_eq!(record.headers["authorization"], "Bearer …");
    assert!(!record.headers.contains_key("x-ms-tokenboundauth"));
    // A 401 is returned: no certificate is expected.
    host.inject("vault=status:401");
    let response = vault.get(host.secret_url()).send().await.unwrap();
    assert_eq!(response.status(), 401);
}

#[tokio::test]
async fn every_call_ends_at_its_deadline() {
    let host = TestHost::new();
    let client = host.client();
    let vault = vault(&client);
    assert_eq!(
        vault.get(host.secret_url()).send().await.unwrap().status(),
        200
    );
    let soon = Duration::from_millis(200);
    for fault in ["vault=hang", "vault-tls=hang*1"] {
        host.inject(fault);
        let call = vault.get(host.secret_url()).timeout(soon).send();
        let error = call.await.unwrap_err();
        assert_failed(&error, ErrorKind::DeadlineExceeded, Stage::Resource);
        host.emulator.clear_faults();
    }
    // The timeout covers the token: another resource needs one.
    host.inject("token=hang");
    let call = graph(&client).get(host.graph_url()).timeout(soon).send();
    let error = call.await.unwrap_err();
    assert_failed(&error, ErrorKind::DeadlineExceeded, Stage::Token);
}

#[tokio::test]
async fn streams_bodies_in_both_directions() {
    let host = TestHost::new();
    let vault = vault(&host.client());
    let chunks = [&br#"{"val"#[..], br#"ue":"streamed"}"#]
        .map(|chunk| Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::from_static(chunk))));
    let url = host.secret_url().replace("demo-secret", "mine");
    let body = StreamBody::new(futures_util::stream::iter(chunks));
    let response = vault.put(&url).stream(body).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let secret: serde_json::Value = response.json().await.unwrap();
    assert_eq!(secret["value"], "streamed");
    let length = 8 * 1024 * 1024;
    host.inject(&format!("vault=oversized:{length}"));
    let mut body = vault.get(&url).send().await.unwrap().into_body();
    let (mut read, mut chunks) = (0, 0);
    while let Some(frame) = body.frame().await {
        read += frame.unwrap().into_data().unwrap().len();
        chunks += 1;
    }
    assert_eq!(read, length);
    assert!(chunks > 10, "{chunks}");
}

#[tokio::test]
async fn supports_every_method() {
    let host = TestHost::new();
    let vault = vault(&host.client());
    let url = host.secret_url();
    for (call, status) in [
        (vault.get(&url), 200),
        (
            vault.put(&url).json(&serde_json::json!({"value": "x"})),
            200,
        ),
        (vault.head(&url), 405),
        (vault.post(&url).body("{}"), 405),
        (vault.patch(&url).body("{}"), 405),
        (vault.delete(&url), 405),
        (vault.request(Method::OPTIONS, &url), 405),
    ] {
        let response = call.send().await.unwrap();
        assert_eq!(response.status(), status);
    }
    let methods: Vec<_> = records(&host, "vault")
        .into_iter()
        .map(|record| record.method)
        .collect();
    assert_eq!(
        methods,
        ["GET", "PUT", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS"]
    );
}

#[tokio::test]
async fn implements_tower_service() {
    async fn call<S>(mut service: S, request: Request<String>) -> u16
    where
        S: tower_service::Service<Request<String>, Response = http::Response<ResponseBody>>,
        S::Error: std::fmt::Debug,
        S::Future: Send,
    {
        std::future::poll_fn(|cx| service.poll_ready(cx))
            .await
            .unwrap();
        let response = service.call(request).await.unwrap();
        assert!(response.extensions().get::<AccessToken>().is_some());
        response.status().as_u16()
    }
    let host = TestHost::new();
    let vault = vault(&host.client());
    let body = r#"{"value":"by tower"}"#.to_owned();
    let request = Request::put(host.secret_url()).body(body).unwrap();
    assert_eq!(call(vault.clone(), request).await, 200);
    let request = Request::get(host.secret_url()).body(String::new()).unwrap();
    let response = vault.send(request).await.unwrap();
    let secret: serde_json::Value = response.json().await.unwrap();
    assert_eq!(secret["value"], "by tower");
}

#[tokio::test]
async fn claims_and_forced_refresh_apply_to_the_first_token_only() {
    let host = TestHost::new();
    let client = host.client();
    client.acquire_token(&attested()).await.unwrap();
    let vault = ResourceClient::new(&client, attested().force_refresh(true)).unwrap();
    for _ in 0..3 {
        assert_eq!(
            vault.get(host.secret_url()).send().await.unwrap().status(),
            200
        );
    }
    assert_eq!((host.count("issue"), host.count("token")), (1, 2));
}

#[tokio::test]
async fn cached_tokens_are_used_while_entra_rejects_the_certificate() {
    let mut config = Config::default();
    config.entra.refresh_in_seconds = Some(600);
    let host = TestHost::with(config);
    let client = host.client();
    let vault = vault(&client);
    assert_eq!(
        vault.get(host.secret_url()).send().await.unwrap().status(),
        200
    );
    host.inject("token=aadsts:1000610*always");
    failure(&client, attested().force_refresh(true)).await;
    for _ in 0..3 {
        let response = vault.get(host.secret_url()).send().await.unwrap();
        assert_eq!(response.status(), 200);
    }
}
