use super::AUDIENCE;
use crate::entra::testing::{BOTH, TestServices};
use crate::pki::ServerIdentity;
use crate::server::testing::{Client, ClientOptions, self_signed};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keybound_core::UnverifiedJwt;
use openssl::ssl::SslVersion;
use serde_json::{Value, json};

const SECRET: &str = "/secrets/demo-secret?api-version=7.4";
const BOUND: &str = "x-ms-tokenboundauth: true\r\n";

/// Requests the secret on a new connection; `Err` contains the inner code of the error response.
async fn read(
    services: &TestServices,
    version: SslVersion,
    pair: Option<&ServerIdentity>,
    headers: &str,
) -> Result<Value, String> {
    let mut client = services.connect(services.vault, version, pair).await;
    let response = client.get(SECRET, headers).await.unwrap();
    let body = response.json();
    if response.status == 200 {
        return Ok(body);
    }
    assert_eq!(response.status, 401, "{body}");
    let challenge = format!(
        r#"www-authenticate: bearer authorization="https://{}/{}", resource="{AUDIENCE}""#,
        services.sts,
        services.tenant()
    );
    assert!(response.head.contains(&challenge), "{}", response.head);
    Err(body["error"]["innererror"]["code"].as_str().unwrap().into())
}

/// The page of the control endpoint shows the reason of each rejection.
#[tokio::test]
async fn records_why_each_request_was_rejected() {
    let services = TestServices::start().await;
    let binding = services.binding();
    let token = services.bound_token(&binding, AUDIENCE).await;
    let version = SslVersion::TLS1_2;
    let mut client = services
        .connect(services.vault, version, Some(&binding))
        .await;
    for (path, headers, status, reason) in [
        (SECRET, String::new(), 401, "MissingToken"),
        ("/secrets/demo-secret", pop(&token), 400, "api-version must"),
        (
            "/secrets/other?api-version=7.4",
            pop(&token),
            404,
            "A secret with the requested name/id was not found",
        ),
        ("/keys?api-version=7.4", pop(&token), 404, "/secrets only"),
    ] {
        let response = client.get(path, &headers).await.unwrap();
        assert_eq!(response.status, status, "{path}");
        let record = services.state.records.all().pop().unwrap();
        let noted = record.notes.get("refused").map(String::as_str);
        assert!(
            noted.is_some_and(|noted| noted.contains(reason)),
            "{path}: {noted:?}"
        );
    }
    let response = client.get(SECRET, &pop(&token)).await.unwrap();
    assert_eq!(response.status, 200);
    let record = services.state.records.all().pop().unwrap();
    assert!(!record.notes.contains_key("refused"), "{record:?}");
}

fn pop(token: &str) -> String {
    format!("Authorization: mtls_pop {token}\r\n{BOUND}")
}

#[tokio::test]
async fn returns_a_secret_for_a_bound_token() {
    let services = TestServices::start().await;
    let binding = services.binding();
    let token = services.bound_token(&binding, AUDIENCE).await;
    for version in BOTH {
        let mut client = services
            .connect(services.vault, version, Some(&binding))
            .await;
        for _ in 0..2 {
            let response = client.get(SECRET, &pop(&token)).await.unwrap();
            let body = response.json();
            assert_eq!(response.status, 200, "{body}");
            assert_eq!(
                body["value"],
                services.state.config.vault.secrets["demo-secret"]
            );
            let id = format!("https://{}/secrets/demo-secret/", services.vault);
            assert!(body["id"].as_str().unwrap().starts_with(&id), "{body}");
            assert_eq!(body["attributes"]["enabled"], true);
        }
    }
}

#[tokio::test]
async fn rejects_a_stolen_token() {
    let services = TestServices::start().await;
    let binding = services.binding();
    let token = services.bound_token(&binding, AUDIENCE).await;
    let other = services.binding();
    let (me, tenant) = (services.client_id(0), services.tenant());
    let expired = services.binding_for(me, tenant, (-7200, -3600));
    for version in BOTH {
        for (pair, code) in [
            (None, "MissingClientCertificate"),
            (Some(&other), "ClientCertificateMismatch"),
            (Some(&self_signed("me", 1)), "ClientCertificateNotTrusted"),
            (Some(&expired), "ClientCertificateExpired"),
        ] {
            let rejected = read(&services, version, pair, &pop(&token)).await;
            assert_eq!(rejected.unwrap_err(), code);
        }
    }
}

#[tokio::test]
async fn requests_no_certificate_without_the_bound_token_header() {
    let services = TestServices::start().await;
    let binding = services.binding();
    let token = services.bound_token(&binding, AUDIENCE).await;
    for version in BOTH {
        for header in ["", "x-ms-tokenboundauth: false\r\n"] {
            let headers = format!("Authorization: mtls_pop {token}\r\n{header}");
            let mut client = services
                .connect(services.vault, version, Some(&binding))
                .await;
            let response = client.get(SECRET, &headers).await.unwrap();
            assert_eq!(response.status, 401);
            let part = "Client certificate required for using MTLS_POP token";
            assert!(response.text().contains(part), "{}", response.text());
        }
        services.fault("vault=never-ask*1");
        let rejected = read(&services, version, Some(&binding), &pop(&token)).await;
        assert_eq!(rejected.unwrap_err(), "MissingClientCertificate");
        read(&services, version, Some(&binding), &pop(&token))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn rejects_clients_that_support_no_certificate_request() {
    let services = TestServices::start().await;
    let binding = services.binding();
    let token = services.bound_token(&binding, AUDIENCE).await;
    let mut options = ClientOptions::with(&binding);
    options.no_post_handshake_auth = true;
    let mut client = Client::connect(services.vault, SslVersion::TLS1_3, &options)
        .await
        .unwrap();
    let response = client.get(SECRET, &pop(&token)).await.unwrap();
    assert!(
        response.text().contains("MissingClientCertificate"),
        "{}",
        response.text()
    );
    options.no_renegotiation = true;
    let mut client = Client::connect(services.vault, SslVersion::TLS1_2, &options)
        .await
        .unwrap();
    assert!(client.get(SECRET, &pop(&token)).await.is_err());
}

#[tokio::test]
async fn rejects_invalid_tokens_with_inner_codes() {
    let services = TestServices::start().await;
    let binding = services.binding();
    let token = services.bound_token(&binding, AUDIENCE).await;
    let bearer = services.bearer_token(&binding, AUDIENCE).await;
    let graph = services.bound_token(&binding, crate::graph::AUDIENCE).await;
    let foreign = {
        services.fault("token=foreign-key*1");
        services.bound_token(&binding, AUDIENCE).await
    };
    let expired = {
        services.fault("token=expired-token*1");
        services.bound_token(&binding, AUDIENCE).await
    };
    let other_tenant = {
        services.fault("token=other-tenant-key*1");
        services.bound_token(&binding, AUDIENCE).await
    };
    let unbound = {
        services.fault("token=no-cnf*1");
        services.bound_token(&binding, AUDIENCE).await
    };
    let other = {
        services.fault("token=other-cnf*1");
        services.bound_token(&binding, AUDIENCE).await
    };
    let (_, signature) = token.rsplit_once('.').unwrap();
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    let claims = token.split('.').nth(1).unwrap();
    let issuer = {
        let mut claims = UnverifiedJwt::parse(&token).unwrap().claims;
        claims.insert("iss".into(), json!("https://sts.example"));
        let claims = Value::Object(claims);
        let key = services.state.keys.entra.signing();
        key.get().await.unwrap().sign(&claims).unwrap()
    };
    let authorization = |value: String| format!("Authorization: {value}\r\n{BOUND}");
    for (headers, code) in [
        (BOUND.to_owned(), "MissingToken"),
        (authorization(token.clone()), "InvalidAuthorizationHeader"),
        (authorization("Basic eA==".into()), "UnknownScheme"),
        (pop("x"), "MalformedToken"),
        (pop(&format!("{token}.x")), "MalformedToken"),
        (pop(&foreign), "InvalidSignature"),
        (pop(&other_tenant), "InvalidSignature"),
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
        let rejected = read(&services, BOTH[0], Some(&binding), &headers).await;
        assert_eq!(rejected.unwrap_err(), code, "{headers}");
    }
    let headers = format!("Authorization: bearer {bearer}\r\n");
    read(&services, BOTH[0], None, &headers).await.unwrap();
    let records = format!("{:?}", services.state.records.all());
    assert!(!records.contains(signature), "{records}");
}

#[tokio::test]
async fn accepts_tokens_of_previous_keys_until_they_are_retired() {
    let services = TestServices::start().await;
    let keys = &services.state.keys.entra;
    let binding = services.binding();
    let earlier = services.bound_token(&binding, AUDIENCE).await;
    let earlier_bearer = services.bearer_token(&binding, AUDIENCE).await;
    let bearer = format!("Authorization: Bearer {earlier_bearer}\r\n");
    for _ in 0..2 {
        keys.rotate();
        let token = services.bound_token(&binding, AUDIENCE).await;
        for headers in [pop(&earlier), pop(&token), bearer.clone()] {
            let read = read(&services, BOTH[0], Some(&binding), &headers).await;
            read.unwrap();
        }
    }
    let token = services.bound_token(&binding, AUDIENCE).await;
    keys.retire_previous();
    for headers in [pop(&earlier), bearer] {
        let rejected = read(&services, BOTH[0], Some(&binding), &headers).await;
        assert_eq!(rejected.unwrap_err(), "InvalidSignature");
    }
    let accepted = read(&services, BOTH[0], Some(&binding), &pop(&token)).await;
    accepted.unwrap();
}

#[tokio::test]
async fn accepts_tokens_of_both_versions() {
    let mut config = crate::Config::default();
    config.resources[0].uri = AUDIENCE.into();
    let services = TestServices::with(config).await;
    let binding = services.binding();
    let token = services.bound_token(&binding, AUDIENCE).await;
    assert_eq!(
        UnverifiedJwt::parse(&token).unwrap().text("ver"),
        Some("2.0")
    );
    let accepted = read(&services, BOTH[0], Some(&binding), &pop(&token)).await;
    accepted.unwrap();
    let bearer = services.bearer_token(&binding, AUDIENCE).await;
    let headers = format!("Authorization: Bearer {bearer}\r\n");
    read(&services, BOTH[0], None, &headers).await.unwrap();
}

#[tokio::test]
async fn tokens_expire_by_the_emulated_clock() {
    let mut config = crate::Config::default();
    config.entra.token_lifetime_seconds = 60;
    let services = TestServices::with(config).await;
    let (me, tenant) = (services.client_id(0), services.tenant());
    let binding = services.binding_for(me, tenant, (-7200, 7200));
    let token = services.bound_token(&binding, AUDIENCE).await;
    services.state.clock.advance(61);
    let rejected = read(&services, BOTH[0], Some(&binding), &pop(&token)).await;
    assert_eq!(rejected.unwrap_err(), "TokenExpired");
    services.state.clock.advance(-3600);
    let rejected = read(&services, BOTH[0], Some(&binding), &pop(&token)).await;
    assert_eq!(rejected.unwrap_err(), "TokenNotYetValid");
}

#[tokio::test]
async fn sends_a_claims_challenge_after_all_checks() {
    let services = TestServices::start().await;
    let binding = services.binding();
    let token = services.bound_token(&binding, AUDIENCE).await;
    let claims = r#"{"access_token":{"acrs":{"essential":true}}}"#;
    services.fault(&format!("vault=claims-challenge:{claims}*1"));
    let mut client = services
        .connect(services.vault, BOTH[0], Some(&binding))
        .await;
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
async fn sets_lists_and_returns_secrets_by_version() {
    let services = TestServices::start().await;
    let binding = services.binding();
    let token = services.bound_token(&binding, AUDIENCE).await;
    let headers = pop(&token);
    let mut client = services
        .connect(services.vault, BOTH[0], Some(&binding))
        .await;
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
    let path = id.split_once(&services.vault.to_string()).unwrap().1;
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
        let rejected = client.send(put(name, body).as_bytes()).await.unwrap();
        assert_eq!(rejected.status, 400, "{name} {body}");
    }
}

#[tokio::test]
async fn rejects_unknown_secrets_paths_and_methods() {
    let services = TestServices::start().await;
    let binding = services.binding();
    let token = services.bound_token(&binding, AUDIENCE).await;
    let headers = pop(&token);
    let mut client = services
        .connect(services.vault, BOTH[0], Some(&binding))
        .await;
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
    // A rejected client does not learn which secrets exist.
    let response = client.get("/secrets/none", "").await.unwrap();
    assert_eq!(response.status, 401);
}
