use crate::config::Config;
use crate::evidence;
use crate::service::Service;
use crate::signing_key::{jwk, jwk_thumbprint, signing_input};
use crate::simulated_key::SimulatedKey;
use crate::state::State;
use crate::testing::{JsonResponse, send, state};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::Request;
use keybound_core::UnverifiedJwt;
use keybound_keys::{BindingKey, SignatureScheme};
use openssl::sha::sha256;
use serde_json::{Value, json};
use std::sync::Arc;

async fn attest(state: &Arc<State>, evidence: &str) -> JsonResponse {
    post(state, json!({"evidence": evidence}).to_string()).await
}

async fn post(state: &Arc<State>, body: impl Into<Bytes>) -> JsonResponse {
    let request = Request::post("/attest/keyguard").body(body.into()).unwrap();
    send(state, Service::Maa, request).await
}

async fn get(state: &Arc<State>, path: &str) -> JsonResponse {
    send(
        state,
        Service::Maa,
        Request::get(path).body(Bytes::new()).unwrap(),
    )
    .await
}

fn audience(state: &Arc<State>) -> &str {
    state.endpoints.origin(Service::Maa)
}

/// Evidence with changed header and claims, signed with the key.
fn changed(
    key: &SimulatedKey,
    evidence: &str,
    change: impl FnOnce(&mut Value, &mut Value),
) -> String {
    let jws = UnverifiedJwt::parse(evidence).unwrap();
    let (mut header, mut claims) = (Value::Object(jws.header), Value::Object(jws.claims));
    change(&mut header, &mut claims);
    let signed = signing_input(&header, &claims);
    let signature = key
        .sign(SignatureScheme::PssSha256, &sha256(signed.as_bytes()))
        .unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test]
async fn attests_a_key_as_simulated() {
    let state = state(Config::default());
    let key = SimulatedKey::generate().unwrap();
    let response = attest(&state, &evidence::create(&key, audience(&state)).unwrap()).await;
    assert_eq!(response.status, 200, "{response:?}");
    let token = response.text("token");
    assert!(state.keys.maa.get().await.unwrap().verifies(token));
    let jwt = UnverifiedJwt::parse(token).unwrap();
    assert_eq!(jwt.text("iss"), Some("https://127.0.0.1:1003"));
    assert_eq!(jwt.text("x-ms-attestation-type"), Some("simulated"));
    assert_eq!(jwt.claims["simulated"], true);
    let life = jwt.claims["exp"].as_u64().unwrap() - jwt.claims["iat"].as_u64().unwrap();
    assert_eq!(life, 8 * 3600);
    let shown = &jwt.claims["x-ms-runtime"]["keys"][0];
    let (n, e) = (shown["n"].as_str().unwrap(), shown["e"].as_str().unwrap());
    assert_eq!(shown["kid"], jwk_thumbprint(n, e));
    let modulus = URL_SAFE_NO_PAD.decode(n).unwrap();
    let der = key.public_key_der();
    assert!(der.windows(256).any(|window| window == modulus));
    let keys = get(&state, "/certs").await.body;
    assert_eq!(keys["keys"][0]["kid"], jwt.header["kid"]);
    let shown = serde_json::to_string(&state.records.all()).unwrap();
    assert!(!shown.contains(&token[..30]));
}

#[tokio::test]
async fn dates_tokens_by_the_emulated_and_evidence_by_the_host_clock() {
    let state = state(Config::default());
    state.clock.advance(30 * 24 * 3600);
    let key = SimulatedKey::generate().unwrap();
    let response = attest(&state, &evidence::create(&key, audience(&state)).unwrap()).await;
    let jwt = UnverifiedJwt::parse(response.text("token")).unwrap();
    assert!(jwt.claims["iat"].as_u64().unwrap() >= state.clock.unix() - 5);
}

#[tokio::test]
async fn rejects_invalid_evidence() {
    let state = state(Config::default());
    let (key, other) = (
        SimulatedKey::generate().unwrap(),
        SimulatedKey::generate().unwrap(),
    );
    let valid = evidence::create(&key, audience(&state)).unwrap();
    let weak = openssl::rsa::Rsa::generate(1024).unwrap();
    let weak =
        jwk(&openssl::rsa::Rsa::public_key_from_der(&weak.public_key_to_der().unwrap()).unwrap());
    for (evidence, part) in [
        ("nonsense".into(), "not a compact JWS"),
        ("a".repeat(20_000), "longer than 16 KiB"),
        (
            changed(&other, &valid, |_, _| ()),
            "not signed by the key in it",
        ),
        (
            changed(&key, &valid, |header, _| header["alg"] = json!("RS256")),
            "not of a simulated key",
        ),
        (
            changed(&key, &valid, |header, _| header["typ"] = json!("JWT")),
            "not of a simulated key",
        ),
        (
            changed(&key, &valid, |header, _| header["jwk"] = weak),
            "RSA key of 2048 bits",
        ),
        (
            changed(&key, &valid, |header, _| header["jwk"]["kty"] = json!("EC")),
            "RSA key of 2048 bits",
        ),
        (
            changed(&key, &valid, |header, _| header["jwk"]["e"] = json!("Ag")),
            "RSA key of 2048 bits",
        ),
        (
            changed(&key, &valid, |_, claims| {
                claims["aud"] = json!("https://other")
            }),
            "another attestation service",
        ),
        (
            changed(&key, &valid, |_, claims| {
                claims["iat"] = json!(claims["iat"].as_u64().unwrap() - 400)
            }),
            "not fresh",
        ),
        (
            changed(&key, &valid, |_, claims| {
                claims["iat"] = json!(claims["iat"].as_u64().unwrap() + 400)
            }),
            "not fresh",
        ),
        (
            changed(&key, &valid, |_, claims| claims["jti"] = Value::Null),
            "lacks aud, iat or jti",
        ),
        (
            changed(&key, &valid, |_, claims| {
                claims["jti"] = json!("x".repeat(200))
            }),
            "lacks aud, iat or jti",
        ),
    ] {
        let response = attest(&state, &evidence).await;
        assert_eq!(response.status, 400, "{part}");
        let message = response.body["error"]["message"].as_str().unwrap();
        assert!(message.contains(part), "{part}: {message}");
    }
    assert_eq!(attest(&state, &valid).await.status, 200);
    let again = attest(&state, &valid).await;
    assert_eq!(
        again.body["error"]["message"],
        "the evidence was used before"
    );
    for body in [
        Bytes::new(),
        "{}".into(),
        "[]".into(),
        vec![b' '; 70_000].into(),
    ] {
        assert_eq!(post(&state, body).await.status, 400);
    }
    assert!(
        state
            .records
            .all()
            .iter()
            .any(|record| record.notes.contains_key("refused"))
    );
}

#[tokio::test]
async fn serves_documents_and_checks_methods() {
    let state = state(Config::default());
    let document = get(&state, "/.well-known/openid-configuration").await.body;
    assert_eq!(document["issuer"], "https://127.0.0.1:1003");
    assert_eq!(document["jwks_uri"], "https://127.0.0.1:1003/certs");
    let response = get(&state, "/attest/keyguard").await;
    assert_eq!(
        (response.status, &response.headers["allow"]),
        (405, &"POST".parse().unwrap())
    );
    assert_eq!(get(&state, "/").await.status, 404);
}

#[tokio::test]
async fn faults_change_attestation_tokens() {
    let state = state(Config::default());
    let key = SimulatedKey::generate().unwrap();
    let next = async |fault: &str| {
        state
            .faults
            .add(vec![format!("attest={fault}*1").parse().unwrap()])
            .unwrap();
        let response = attest(&state, &evidence::create(&key, audience(&state)).unwrap()).await;
        response.body["token"].as_str().unwrap().to_owned()
    };
    let maa = state.keys.maa.get().await.unwrap();
    let claims = |token: &str| UnverifiedJwt::parse(token).unwrap().claims;
    assert!(UnverifiedJwt::parse(&next("garbage-token").await).is_none());
    let expired = next("expired-token").await;
    assert!(
        maa.verifies(&expired) && claims(&expired)["exp"].as_u64().unwrap() < state.clock.unix()
    );
    assert!(!maa.verifies(&next("foreign-key").await));
    let (valid, other) = (next("delay:1").await, next("other-key").await);
    assert!(maa.verifies(&other));
    assert_ne!(
        claims(&valid)["x-ms-runtime"],
        claims(&other)["x-ms-runtime"]
    );
    state
        .faults
        .add(vec!["keys=foreign-key*1".parse().unwrap()])
        .unwrap();
    assert_ne!(
        get(&state, "/certs").await.body,
        get(&state, "/certs").await.body
    );
}
