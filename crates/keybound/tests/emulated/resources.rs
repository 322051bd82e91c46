//! Calls by the client that renews, moves on and answers challenges.
use crate::world::{GRAPH, VAULT, World, assert_failed, attested, failure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, StreamBody};
use keybound::http::ResponseBody;
use keybound::http::{Method, Request, ResourceClient, Response};
use keybound::{
    AccessToken, Claims, ErrorKind, KeyRequirements, ManagedIdentityClient, Stage, TokenRequest,
};
use keybound_emulator::{Config, Record};
use std::time::Duration;

fn vault(client: &ManagedIdentityClient) -> ResourceClient {
    ResourceClient::new(client, attested()).unwrap()
}

fn graph(client: &ManagedIdentityClient) -> ResourceClient {
    let request = TokenRequest::pop(GRAPH, KeyRequirements::attested());
    ResourceClient::new(client, request).unwrap()
}

fn records(world: &World, leg: &str) -> Vec<Record> {
    let records = world.emulator.records().into_iter();
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
async fn a_secret_is_read_with_one_token_and_one_handshake() {
    let world = World::new();
    let vault = vault(&world.client());
    for reused in [false, true, true] {
        let answer = vault.get(world.secret_url()).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let connection = answer.connection().unwrap();
        assert_eq!(connection.reused, reused);
        let secret: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(secret["value"], "only the holder of the key reads this");
    }
    assert_eq!(
        (
            world.count("issue"),
            world.count("token"),
            world.count("vault-tls")
        ),
        (1, 1, 1)
    );
}

#[tokio::test]
async fn the_next_call_takes_the_new_pair_and_those_under_way_end_on_the_old_one() {
    let world = World::new();
    let client = world.client();
    let graph = graph(&client);
    let first = graph.get(world.graph_url()).send().await.unwrap();
    let old = thumbprint(token(&first));
    // One is being answered, of another only the head was read.
    world.inject("graph=delay:300");
    let under_way = tokio::spawn(graph.get(world.graph_url()).send());
    while world.count("graph") < 2 {
        tokio::task::yield_now().await;
    }
    let claims = Claims::parse(r#"{"access_token":{}}"#).unwrap();
    let request = TokenRequest::pop(GRAPH, KeyRequirements::attested());
    client.acquire_token(&request.claims(claims)).await.unwrap();
    let next = graph.get(world.graph_url()).send().await.unwrap();
    let new = thumbprint(token(&next));
    assert_ne!(old, new);
    let under_way = under_way.await.unwrap().unwrap();
    assert_eq!(
        (next.status(), under_way.status()),
        (200.try_into().unwrap(), 200.try_into().unwrap())
    );
    assert_eq!(thumbprint(token(&under_way)), old);
    for answer in [first, next, under_way] {
        assert!(!answer.bytes_limited(4096).await.unwrap().is_empty());
    }
    let seen: Vec<_> = records(&world, "graph")
        .into_iter()
        .map(|record| (record.client_certificate.unwrap(), record.status))
        .collect();
    assert_eq!(
        seen,
        [(old.clone(), Some(200)), (old, Some(200)), (new, Some(200))]
    );
}

#[tokio::test]
async fn a_claims_challenge_is_answered_within_the_call() {
    let world = World::new();
    let vault = vault(&world.client());
    let claims = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    for url in [world.secret_url(), world.secret_url()] {
        world.inject(&format!("vault=claims-challenge:{claims}"));
        let answer = vault.get(&url).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    // The second was for what the token had been got for already: it is not taken for granted that it meets it.
    assert_eq!((world.count("issue"), world.count("token")), (3, 3));
    world.inject(&format!("vault=claims-challenge:{claims}*2"));
    let answer = vault.get(world.secret_url()).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    assert!(answer.headers().contains_key("www-authenticate"));
}

#[tokio::test]
async fn a_binding_that_could_not_be_validated_is_tried_on_a_new_connection() {
    let world = World::new();
    let vault = vault(&world.client());
    let refusal = r#"{"error":{"code":"Unauthorized","message":"[MtlsCnfClaimRequestDataValidationFailed]"}}"#;
    // There is a kept connection, on which the certificate was asked for.
    let first = vault.get(world.secret_url()).send().await.unwrap();
    first.bytes_limited(4096).await.unwrap();
    world.inject(&format!("vault=status:401,body={refusal}"));
    let answer = vault.get(world.secret_url()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let connection = answer.connection().unwrap();
    assert!(!connection.reused);
    assert_eq!((world.count("vault"), world.count("vault-tls")), (3, 2));
    assert_eq!(world.count("token"), 1, "the token still fits");
}

#[tokio::test]
async fn a_server_that_never_asks_is_named_here_too() {
    let world = World::new();
    let vault = vault(&world.client());
    world.inject("vault=never-ask");
    let error = vault.get(world.secret_url()).send().await.unwrap_err();
    let kind = ErrorKind::ClientCertificateNotRequested;
    assert_failed(&error, kind, Stage::Resource);
    assert_eq!(
        vault.get(world.secret_url()).send().await.unwrap().status(),
        200
    );
}

#[tokio::test]
async fn the_token_stays_on_its_origin() {
    let world = World::new();
    let vault = vault(&world.client());
    world.inject("vault=redirect:/secrets/demo-secret?api-version=7.4");
    let answer = vault.get(world.secret_url()).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), world.count("vault")), (200, 2));
    for elsewhere in [world.graph_url(), "https://localhost:1/".into()] {
        world.inject(&format!("vault=redirect:{elsewhere}"));
        let answer = vault.get(world.secret_url()).send().await.unwrap();
        assert_eq!(answer.status(), 307);
        assert_eq!(answer.headers()["location"], elsewhere);
    }
    assert_eq!(world.count("graph") + world.count("graph-tls"), 0);
}

#[tokio::test]
async fn a_bearer_token_goes_without_a_certificate() {
    let world = World::new();
    let request = TokenRequest::bearer_over_mtls(VAULT, KeyRequirements::attested());
    let vault = ResourceClient::new(&world.client(), request).unwrap();
    let answer = vault.get(world.secret_url()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(token(&answer).binding().is_none());
    let record = records(&world, "vault").pop().unwrap();
    assert_eq!(record.client_certificate, None);
    assert_eq!(record.headers["authorization"], "Bearer …");
    assert!(!record.headers.contains_key("x-ms-tokenboundauth"));
    // Its 401 is an answer: no certificate was ever to be asked for.
    world.inject("vault=status:401");
    let answer = vault.get(world.secret_url()).send().await.unwrap();
    assert_eq!(answer.status(), 401);
}

#[tokio::test]
async fn every_call_ends_by_its_deadline() {
    let world = World::new();
    let client = world.client();
    let vault = vault(&client);
    assert_eq!(
        vault.get(world.secret_url()).send().await.unwrap().status(),
        200
    );
    let soon = Duration::from_millis(200);
    for fault in ["vault=hang", "vault-tls=hang*1"] {
        world.inject(fault);
        let call = vault.get(world.secret_url()).timeout(soon).send();
        let error = call.await.unwrap_err();
        assert_failed(&error, ErrorKind::DeadlineReached, Stage::Resource);
        world.emulator.clear_faults();
    }
    // The token's share: another resource needs one.
    world.inject("token=hang");
    let call = graph(&client).get(world.graph_url()).timeout(soon).send();
    let error = call.await.unwrap_err();
    assert_failed(&error, ErrorKind::DeadlineReached, Stage::Token);
}

#[tokio::test]
async fn bodies_are_streamed_both_ways() {
    let world = World::new();
    let vault = vault(&world.client());
    let pieces = [&br#"{"val"#[..], br#"ue":"streamed"}"#]
        .map(|piece| Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::from_static(piece))));
    let url = world.secret_url().replace("demo-secret", "mine");
    let body = StreamBody::new(futures_util::stream::iter(pieces));
    let answer = vault.put(&url).stream(body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let secret: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(secret["value"], "streamed");
    let length = 8 * 1024 * 1024;
    world.inject(&format!("vault=oversized:{length}"));
    let mut body = vault.get(&url).send().await.unwrap().into_body();
    let (mut read, mut pieces) = (0, 0);
    while let Some(frame) = body.frame().await {
        read += frame.unwrap().into_data().unwrap().len();
        pieces += 1;
    }
    assert_eq!(read, length);
    assert!(pieces > 10, "{pieces}");
}

#[tokio::test]
async fn every_method_goes_through() {
    let world = World::new();
    let vault = vault(&world.client());
    let url = world.secret_url();
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
        let answer = call.send().await.unwrap();
        assert_eq!(answer.status(), status);
    }
    let methods: Vec<_> = records(&world, "vault")
        .into_iter()
        .map(|record| record.method)
        .collect();
    assert_eq!(
        methods,
        ["GET", "PUT", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS"]
    );
}

#[tokio::test]
async fn it_is_a_service_of_tower() {
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
    let world = World::new();
    let vault = vault(&world.client());
    let body = r#"{"value":"by tower"}"#.to_owned();
    let request = Request::put(world.secret_url()).body(body).unwrap();
    assert_eq!(call(vault.clone(), request).await, 200);
    let request = Request::get(world.secret_url())
        .body(String::new())
        .unwrap();
    let answer = vault.send(request).await.unwrap();
    let secret: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(secret["value"], "by tower");
}

#[tokio::test]
async fn claims_and_force_of_the_request_count_for_its_first_token() {
    let world = World::new();
    let client = world.client();
    client.acquire_token(&attested()).await.unwrap();
    let vault = ResourceClient::new(&client, attested().force_refresh(true)).unwrap();
    for _ in 0..3 {
        assert_eq!(
            vault.get(world.secret_url()).send().await.unwrap().status(),
            200
        );
    }
    assert_eq!((world.count("issue"), world.count("token")), (1, 2));
}

#[tokio::test]
async fn while_entra_refuses_the_certificate_its_tokens_serve_on() {
    let mut config = Config::default();
    config.entra.refresh_in_seconds = Some(600);
    let world = World::with(config);
    let client = world.client();
    let vault = vault(&client);
    assert_eq!(
        vault.get(world.secret_url()).send().await.unwrap().status(),
        200
    );
    world.inject("token=aadsts:1000610*always");
    failure(&client, attested().force_refresh(true)).await;
    for _ in 0..3 {
        let answer = vault.get(world.secret_url()).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
}
