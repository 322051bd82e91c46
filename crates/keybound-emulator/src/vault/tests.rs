use super::AUDIENCE;
use crate::entra::testing::{BOTH, Lab};
use crate::pki::ServerIdentity;
use crate::server::testing::{Client, ClientOptions, self_signed};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::ssl::SslVersion;
use serde_json::{Value, json};

const SECRET: &str = "/secrets/demo-secret?api-version=7.4";
const BOUND: &str = "x-ms-tokenboundauth: true\r\n";

/// Asks for the secret on a new connection; `Err` holds the inner code of the refusal.
async fn read(
    lab: &Lab,
    version: SslVersion,
    pair: Option<&ServerIdentity>,
    headers: &str,
) -> Result<Value, String> {
    let mut client = lab.connect(lab.vault, version, pair).await;
    let response = client.get(SECRET, headers).await.unwrap();
    let body = response.json();
    if response.status == 200 {
        return Ok(body);
    }
    assert_eq!(response.status, 401, "{body}");
    let challenge = format!(
        r#"www-authenticate: bearer authorization="https://{}/{}", resource="{AUDIENCE}""#,
        lab.sts,
        lab.tenant()
    );
    assert!(response.head.contains(&challenge), "{}", response.head);
    Err(body["error"]["innererror"]["code"].as_str().unwrap().into())
}

fn pop(token: &str) -> String {
    format!("Authorization: mtls_pop {token}\r\n{BOUND}")
}

#[tokio::test]
async fn the_holder_of_the_key_reads_the_secret_time_and_again() {
    let lab = Lab::start().await;
    let binding = lab.binding();
    let token = lab.bound_token(&binding, AUDIENCE).await;
    for version in BOTH {
        let mut client = lab.connect(lab.vault, version, Some(&binding)).await;
        for _ in 0..2 {
            let response = client.get(SECRET, &pop(&token)).await.unwrap();
            let body = response.json();
            assert_eq!(response.status, 200, "{body}");
            assert_eq!(body["value"], lab.state.config.vault.secrets["demo-secret"]);
            let id = format!("https://{}/secrets/demo-secret/", lab.vault);
            assert!(body["id"].as_str().unwrap().starts_with(&id), "{body}");
            assert_eq!(body["attributes"]["enabled"], true);
        }
    }
}

#[tokio::test]
async fn a_stolen_token_is_worth_nothing() {
    let lab = Lab::start().await;
    let binding = lab.binding();
    let token = lab.bound_token(&binding, AUDIENCE).await;
    let thief = lab.binding();
    let (me, tenant) = (lab.client_id(0), lab.tenant());
    let expired = lab.binding_for(me, tenant, (-7200, -3600));
    for version in BOTH {
        for (pair, code) in [
            (None, "MissingClientCertificate"),
            (Some(&thief), "ClientCertificateMismatch"),
            (Some(&self_signed("me", 1)), "ClientCertificateNotTrusted"),
            (Some(&expired), "ClientCertificateExpired"),
        ] {
            let refused = read(&lab, version, pair, &pop(&token)).await;
            assert_eq!(refused.unwrap_err(), code);
        }
    }
}

#[tokio::test]
async fn who_does_not_say_that_the_token_is_bound_is_not_asked() {
    let lab = Lab::start().await;
    let binding = lab.binding();
    let token = lab.bound_token(&binding, AUDIENCE).await;
    for version in BOTH {
        for header in ["", "x-ms-tokenboundauth: false\r\n"] {
            let headers = format!("Authorization: mtls_pop {token}\r\n{header}");
            let mut client = lab.connect(lab.vault, version, Some(&binding)).await;
            let response = client.get(SECRET, &headers).await.unwrap();
            assert_eq!(response.status, 401);
            let words = "Client certificate required for using MTLS_POP token";
            assert!(response.text().contains(words), "{}", response.text());
        }
        lab.fault("vault=never-ask*1");
        let refused = read(&lab, version, Some(&binding), &pop(&token)).await;
        assert_eq!(refused.unwrap_err(), "MissingClientCertificate");
        read(&lab, version, Some(&binding), &pop(&token))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn clients_that_cannot_be_asked_are_refused() {
    let lab = Lab::start().await;
    let binding = lab.binding();
    let token = lab.bound_token(&binding, AUDIENCE).await;
    let mut options = ClientOptions::with(&binding);
    options.no_post_handshake_auth = true;
    let mut client = Client::connect(lab.vault, SslVersion::TLS1_3, &options)
        .await
        .unwrap();
    let response = client.get(SECRET, &pop(&token)).await.unwrap();
    assert!(
        response.text().contains("MissingClientCertificate"),
        "{}",
        response.text()
    );
    options.no_renegotiation = true;
    let mut client = Client::connect(lab.vault, SslVersion::TLS1_2, &options)
        .await
        .unwrap();
    assert!(client.get(SECRET, &pop(&token)).await.is_err());
}

#[tokio::test]
async fn tokens_that_are_not_for_this_are_refused_by_word() {
    let lab = Lab::start().await;
    let binding = lab.binding();
    let token = lab.bound_token(&binding, AUDIENCE).await;
    let bearer = lab.bearer_token(&binding, AUDIENCE).await;
    let graph = lab.bound_token(&binding, crate::graph::AUDIENCE).await;
    let foreign = {
        lab.fault("token=foreign-key*1");
        lab.bound_token(&binding, AUDIENCE).await
    };
    let expired = {
        lab.fault("token=expired-token*1");
        lab.bound_token(&binding, AUDIENCE).await
    };
    let unbound = {
        lab.fault("token=no-cnf*1");
        lab.bound_token(&binding, AUDIENCE).await
    };
    let other = {
        lab.fault("token=other-cnf*1");
        lab.bound_token(&binding, AUDIENCE).await
    };
    let (_, signature) = token.rsplit_once('.').unwrap();
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    let claims = token.split('.').nth(1).unwrap();
    let issuer = {
        let claims = json!({"iss": "https://sts.example", "aud": AUDIENCE, "tid": lab.tenant()});
        lab.state
            .keys
            .entra
            .get()
            .await
            .unwrap()
            .sign(&claims)
            .unwrap()
    };
    let authorization = |value: String| format!("Authorization: {value}\r\n{BOUND}");
    for (headers, code) in [
        (BOUND.to_owned(), "MissingToken"),
        (authorization(token.clone()), "InvalidAuthorizationHeader"),
        (authorization("Basic eA==".into()), "UnknownScheme"),
        (pop("x"), "MalformedToken"),
        (pop(&format!("{token}.x")), "MalformedToken"),
        (pop(&foreign), "InvalidSignature"),
        (pop(&format!("{none}.{claims}.")), "MalformedToken"),
        (
            pop(&format!("{none}.{claims}.{signature}")),
            "InvalidSignature",
        ),
        (pop(&issuer), "InvalidIssuer"),
        (pop(&expired), "TokenExpired"),
        (pop(&graph), "InvalidAudience"),
        (
            authorization(format!("Bearer {token}")),
            "BoundTokenAsBearer",
        ),
        (pop(&bearer), "TokenNotBound"),
        (pop(&unbound), "TokenNotBound"),
        (pop(&other), "ClientCertificateMismatch"),
        (
            format!("{}{}", pop(&token), pop(&token)),
            "InvalidAuthorizationHeader",
        ),
    ] {
        let refused = read(&lab, BOTH[0], Some(&binding), &headers).await;
        assert_eq!(refused.unwrap_err(), code, "{headers}");
    }
    let headers = format!("Authorization: bearer {bearer}\r\n");
    read(&lab, BOTH[0], None, &headers).await.unwrap();
    let records = format!("{:?}", lab.state.records.all());
    assert!(!records.contains(signature), "{records}");
}

#[tokio::test]
async fn tokens_expire_by_the_emulated_clock() {
    let mut config = crate::Config::default();
    config.entra.token_lifetime_seconds = 60;
    let lab = Lab::with(config).await;
    let binding = lab.binding();
    let token = lab.bound_token(&binding, AUDIENCE).await;
    lab.state.clock.advance(61);
    let refused = read(&lab, BOTH[0], Some(&binding), &pop(&token)).await;
    assert_eq!(refused.unwrap_err(), "TokenExpired");
    lab.state.clock.advance(-3600);
    let refused = read(&lab, BOTH[0], Some(&binding), &pop(&token)).await;
    assert_eq!(refused.unwrap_err(), "TokenNotYetValid");
}

#[tokio::test]
async fn a_claims_challenge_comes_on_demand_after_all_checks() {
    let lab = Lab::start().await;
    let binding = lab.binding();
    let token = lab.bound_token(&binding, AUDIENCE).await;
    let claims = r#"{"access_token":{"acrs":{"essential":true}}}"#;
    lab.fault(&format!("vault=claims-challenge:{claims}*1"));
    let mut client = lab.connect(lab.vault, BOTH[0], Some(&binding)).await;
    let response = client.get(SECRET, &pop(&token)).await.unwrap();
    assert_eq!(response.status, 401);
    let encoded = URL_SAFE_NO_PAD.encode(claims).to_lowercase();
    assert!(
        response.head.contains(&format!(r#"claims="{encoded}""#)),
        "{}",
        response.head
    );
    assert!(
        response.head.contains(r#"error="insufficient_claims""#),
        "{}",
        response.head
    );
    assert_eq!(client.get(SECRET, &pop(&token)).await.unwrap().status, 200);
}

#[tokio::test]
async fn secrets_are_set_listed_and_found_by_version() {
    let lab = Lab::start().await;
    let binding = lab.binding();
    let token = lab.bound_token(&binding, AUDIENCE).await;
    let headers = pop(&token);
    let mut client = lab.connect(lab.vault, BOTH[0], Some(&binding)).await;
    let put = |name: &str, body: &str| {
        format!(
            "PUT /secrets/{name}?api-version=7.4 HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let first = client
        .send(put("mine", r#"{"value":"one"}"#).as_bytes())
        .await
        .unwrap();
    assert_eq!(first.status, 200, "{}", first.text());
    client
        .send(put("mine", r#"{"value":"two"}"#).as_bytes())
        .await
        .unwrap();
    let newest = client
        .get("/secrets/mine?api-version=7.4", &headers)
        .await
        .unwrap();
    assert_eq!(newest.json()["value"], "two");
    let id = first.json()["id"].as_str().unwrap().to_owned();
    let path = id.split_once(&lab.vault.to_string()).unwrap().1;
    let old = client
        .get(&format!("{path}?api-version=7.4"), &headers)
        .await
        .unwrap();
    assert_eq!(old.json()["value"], "one");
    let list = client
        .get("/secrets?api-version=7.4", &headers)
        .await
        .unwrap();
    assert_eq!(list.json()["value"].as_array().unwrap().len(), 2);
    assert!(!list.text().contains("two"), "{}", list.text());
    for (name, body) in [
        ("a_b", r#"{"value":"x"}"#),
        ("a", "{}"),
        ("a", "x"),
        ("a", r#"{"value":1}"#),
    ] {
        let refused = client.send(put(name, body).as_bytes()).await.unwrap();
        assert_eq!(refused.status, 400, "{name} {body}");
    }
}

#[tokio::test]
async fn what_the_vault_does_not_have_is_refused() {
    let lab = Lab::start().await;
    let binding = lab.binding();
    let token = lab.bound_token(&binding, AUDIENCE).await;
    let headers = pop(&token);
    let mut client = lab.connect(lab.vault, BOTH[0], Some(&binding)).await;
    for (path, status, code) in [
        ("/secrets/none?api-version=7.4", 404, "SecretNotFound"),
        (
            "/secrets/demo-secret/0?api-version=7.4",
            404,
            "SecretNotFound",
        ),
        ("/secrets/demo-secret", 400, "BadParameter"),
        ("/secrets/demo-secret?api-version=", 400, "BadParameter"),
        ("/secrets/demo-secret?api-version=x", 400, "BadParameter"),
        ("/keys?api-version=7.4", 404, "NotFound"),
    ] {
        let response = client.get(path, &headers).await.unwrap();
        assert_eq!(
            (response.status, &response.json()["error"]["code"]),
            (status, &json!(code)),
            "{path}"
        );
    }
    let response = client.post(SECRET, &headers, b"").await.unwrap();
    assert_eq!(response.status, 405);
    // A client that is not accepted does not learn which secrets exist.
    let response = client.get("/secrets/none", "").await.unwrap();
    assert_eq!(response.status, 401);
}
