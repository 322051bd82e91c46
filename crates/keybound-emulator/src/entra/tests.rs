use super::testing::{BOTH, FORM, Lab};
use crate::config::Config;
use crate::server::testing::{Client, ClientOptions, Received, self_signed};
use keybound_core::{UnverifiedJwt, X5tS256};
use serde_json::json;

const VAULT: &str = "https://vault.azure.net";

fn code(response: &Received) -> u64 {
    response.json()["error_codes"][0]
        .as_u64()
        .unwrap_or_default()
}

#[tokio::test]
async fn a_bound_token_names_the_certificate_of_the_connection() {
    let lab = Lab::start().await;
    let binding = lab.binding();
    for version in BOTH {
        let mut client = lab.connect(lab.sts, version, Some(&binding)).await;
        let path = format!("/{}/oauth2/v2.0/token", lab.tenant().to_uppercase());
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(lab.form(VAULT))
            .finish();
        let response = client.post(&path, FORM, body.as_bytes()).await.unwrap();
        assert_eq!(response.status, 200, "{}", response.text());
        assert!(response.head.contains("cache-control: no-store"));
        let body = response.json();
        assert_eq!(body["token_type"], "mtls_pop");
        assert_eq!(
            (&body["expires_in"], &body["ext_expires_in"]),
            (&json!(86399), &json!(86399))
        );
        assert!(body.get("refresh_in").is_none());
        let token = body["access_token"].as_str().unwrap();
        assert!(lab.state.keys.entra.get().await.unwrap().verifies(token));
        let jwt = UnverifiedJwt::parse(token).unwrap();
        let thumbprint = X5tS256::of_der(&binding.certificate.to_der().unwrap());
        assert_eq!(jwt.confirmation(), Some(thumbprint.as_str()));
        for (claim, value) in [
            ("aud", VAULT),
            ("appid", lab.client_id(0)),
            ("azp", lab.client_id(0)),
            ("tid", lab.tenant()),
            ("oid", lab.state.config.identities[0].object_id.as_str()),
            ("iss", &super::issuer(&lab.state)),
        ] {
            assert_eq!(jwt.text(claim), Some(value), "{claim}");
        }
        let time = |name: &str| jwt.claims[name].as_u64().unwrap();
        assert_eq!(time("exp") - time("nbf"), 86399);
        assert!(time("iat") <= lab.state.clock.unix());
        assert!(jwt.text("xms_mirid").is_none() && !jwt.claims.contains_key("xms_cc"));
    }
}

#[tokio::test]
async fn the_token_is_bearer_where_the_request_says_so_or_names_no_type() {
    let mut config = Config::default();
    config.entra.refresh_in_seconds = Some(43_000);
    let lab = Lab::with(config).await;
    for token_type in [None, Some("bearer")] {
        let mut form = lab.form("https://management.azure.com");
        form.pop();
        form.extend(token_type.map(|word| ("token_type", word.to_owned())));
        let response = lab.post_form(Some(&lab.binding()), &form).await;
        assert_eq!(response.status, 200, "{token_type:?}: {}", response.text());
        let body = response.json();
        assert_eq!(
            (&body["token_type"], &body["refresh_in"]),
            (&json!("Bearer"), &json!(43_000)),
            "{token_type:?}"
        );
        let jwt = UnverifiedJwt::parse(body["access_token"].as_str().unwrap()).unwrap();
        assert!(!jwt.claims.contains_key("cnf"), "{token_type:?}");
    }
}

#[tokio::test]
async fn resource_id_and_capabilities_show_in_the_token() {
    let lab = Lab::start().await;
    let binding = lab.binding_for(lab.client_id(1), lab.tenant(), (-60, 3600));
    let mut form = lab.form(VAULT);
    form[0].1 = lab.client_id(1).to_uppercase();
    let claims =
        r#"{"access_token":{"xms_cc":{"values":["cp1"]},"nbf":{"essential":true,"value":"1"}}}"#;
    form.push(("claims", claims.into()));
    let response = lab.post_form(Some(&binding), &form).await;
    let jwt = UnverifiedJwt::parse(response.json()["access_token"].as_str().unwrap()).unwrap();
    let identity = &lab.state.config.identities[1];
    assert_eq!(jwt.text("xms_mirid"), identity.resource_id.as_deref());
    assert_eq!(jwt.claims["xms_cc"], json!(["cp1"]));
}

#[tokio::test]
async fn malformed_requests_are_refused_by_number() {
    let lab = Lab::start().await;
    let binding = lab.binding();
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
        ("client_assertion", Some("x"), 9_002_313, "invalid_request"),
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
        let mut form = lab.form(VAULT);
        form.retain(|(known, _)| *known != name);
        form.extend(value.map(|value| (name, value.to_owned())));
        let response = lab.post_form(Some(&binding), &form).await;
        assert_eq!(
            (response.status, code(&response)),
            (400, number),
            "{name} {value:?}"
        );
        assert_eq!(response.json()["error"], error, "{name} {value:?}");
    }
    let mut doubled = lab.form(VAULT);
    doubled.extend(lab.form("https://graph.microsoft.com"));
    assert_eq!(
        code(&lab.post_form(Some(&binding), &doubled).await),
        9_000_411
    );
}

#[tokio::test]
async fn wrong_tenants_methods_and_content_types_are_refused() {
    let lab = Lab::start().await;
    let mut client = lab.connect(lab.sts, BOTH[0], Some(&lab.binding())).await;
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
    let path = format!("/{}/oauth2/v2.0/token", lab.tenant());
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
async fn only_the_clients_own_valid_certificate_is_accepted() {
    let lab = Lab::start().await;
    let form = lab.form(VAULT);
    let refused = lab.post_form(None, &form).await;
    assert_eq!((refused.status, code(&refused)), (401, 392_200));
    let (me, tenant) = (lab.client_id(0), lab.tenant());
    let other = "00000000-0000-0000-0000-000000000000";
    for (certificate, reason) in [
        (
            self_signed("managedidentitysnissuer.login.microsoft.com", 1),
            "was not found",
        ),
        (
            lab.binding_for(lab.client_id(1), tenant, (-60, 3600)),
            "another client",
        ),
        (lab.binding_for(me, other, (-60, 3600)), "another tenant"),
        (lab.state.pki.server().clone(), "was not found"),
    ] {
        let refused = lab.post_form(Some(&certificate), &form).await;
        assert_eq!((refused.status, code(&refused)), (401, 700_027), "{reason}");
        assert_eq!(refused.json()["error"], "invalid_client");
        assert!(refused.text().contains(reason), "{}", refused.text());
    }
}

#[tokio::test]
async fn certificates_expire_by_the_emulated_clock() {
    let lab = Lab::start().await;
    let (form, binding) = (lab.form(VAULT), lab.binding());
    for seconds in [3700, -3700] {
        lab.state.clock.advance(seconds);
        let refused = lab.post_form(Some(&binding), &form).await;
        assert_eq!((refused.status, code(&refused)), (401, 1_000_502));
        assert_eq!(refused.json()["error"], "invalid_client");
        lab.state.clock.reset();
    }
    assert_eq!(lab.post_form(Some(&binding), &form).await.status, 200);
}

/// The end for new tokens: until it bound and bearer tokens are issued, then neither is.
#[tokio::test]
async fn a_certificate_buys_tokens_until_its_token_not_after() {
    let lab = Lab::start().await;
    let bound = lab.form(VAULT);
    let mut bearer = lab.form(VAULT);
    bearer.pop();
    let certificate = lab.binding_with_token_not_after(3600);
    let token = lab.bound_token(&certificate, VAULT).await;
    lab.state.clock.advance(3601);
    for form in [&bound, &bearer] {
        let refused = lab.post_form(Some(&certificate), form).await;
        assert_eq!((refused.status, code(&refused)), (400, 1_000_901));
        assert_eq!(refused.json()["error"], "invalid_request");
        assert!(refused.text().contains("token_not_after"));
    }
    // Tokens issued before are valid until they expire.
    let mut client = lab.connect(lab.vault, BOTH[0], Some(&certificate)).await;
    let headers = format!("Authorization: mtls_pop {token}\r\nx-ms-tokenboundauth: true\r\n");
    let path = "/secrets/demo-secret?api-version=7.4";
    assert_eq!(client.get(path, &headers).await.unwrap().status, 200);
    lab.state.clock.advance(-60);
    lab.bound_token(&certificate, VAULT).await;
}

#[tokio::test]
async fn a_tenant_that_may_not_ask_for_bound_tokens_is_refused_them_and_gets_bearer_ones() {
    let mut config = Config::default();
    config.entra.bound_tokens_allowed = false;
    let lab = Lab::with(config).await;
    let certificate = lab.binding();
    for resource in [VAULT, "https://management.azure.com"] {
        let refused = lab.post_form(Some(&certificate), &lab.form(resource)).await;
        assert_eq!((refused.status, code(&refused)), (400, 3_921_996));
        assert_eq!(refused.json()["error"], "invalid_request");
        assert!(
            refused
                .text()
                .contains("MtlsMsiTenantNotAllowedForBoundToken")
        );
    }
    lab.bearer_token(&certificate, VAULT).await;
}

#[tokio::test]
async fn a_refusal_can_be_traced() {
    let lab = Lab::start().await;
    let mut client = lab.connect(lab.sts, BOTH[1], None).await;
    let id = "11111111-2222-3333-4444-555555555555";
    let path = format!("/{}/oauth2/v2.0/token", lab.tenant());
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
    let record = lab.state.records.all().pop().unwrap();
    assert_eq!(record.notes["refused"], "AADSTS900144");
}

#[tokio::test]
async fn refusals_come_on_demand() {
    let lab = Lab::start().await;
    let (form, binding) = (lab.form(VAULT), lab.binding());
    for (number, status, error) in [
        (1_000_610, 401, "invalid_client"),
        (1_000_614, 401, "invalid_client"),
        (1_000_502, 401, "invalid_client"),
        (1_000_901, 400, "invalid_request"),
        (3_921_996, 400, "invalid_request"),
        (392_196, 400, "invalid_request"),
        (392_200, 401, "invalid_client"),
    ] {
        lab.fault(&format!("token=aadsts:{number}*1"));
        let refused = lab.post_form(Some(&binding), &form).await;
        assert_eq!((refused.status, code(&refused)), (status, number));
        assert_eq!(refused.json()["error"], error);
    }
    lab.fault("token=invalid-client*1");
    let refused = lab.post_form(Some(&binding), &form).await;
    assert_eq!(
        (refused.status, &refused.json()["error"]),
        (401, &json!("invalid_client"))
    );
    assert!(refused.json().get("error_codes").is_none());
    assert_eq!(lab.post_form(Some(&binding), &form).await.status, 200);
}

#[tokio::test]
async fn wrong_tokens_come_on_demand() {
    let lab = Lab::start().await;
    let (form, binding) = (lab.form(VAULT), lab.binding());
    let thumbprint = X5tS256::of_der(&binding.certificate.to_der().unwrap());
    for fault in [
        "token-type:Bearer",
        "no-cnf",
        "other-cnf",
        "other-client",
        "garbage-token",
        "expired-token",
        "foreign-key",
    ] {
        lab.fault(&format!("token={fault}*1"));
        let response = lab.post_form(Some(&binding), &form).await;
        assert_eq!(response.status, 200, "{fault}");
        let body = response.json();
        let token = body["access_token"].as_str().unwrap();
        let jwt = UnverifiedJwt::parse(token);
        assert_eq!(
            body["token_type"] == "Bearer",
            fault == "token-type:Bearer",
            "{fault}"
        );
        assert_eq!(jwt.is_none(), fault == "garbage-token", "{fault}");
        let Some(jwt) = jwt else { continue };
        let held = lab.state.keys.entra.get().await.unwrap().verifies(token);
        assert_eq!(!held, fault == "foreign-key", "{fault}");
        assert_eq!(jwt.confirmation().is_none(), fault == "no-cnf", "{fault}");
        let other = jwt
            .confirmation()
            .is_some_and(|claim| !thumbprint.matches(claim));
        assert_eq!(other, fault == "other-cnf", "{fault}");
        let client = jwt.text("appid") != Some(lab.client_id(0));
        assert_eq!(client, fault == "other-client", "{fault}");
        let expired = jwt.claims["exp"].as_u64().unwrap() < lab.state.clock.unix();
        assert_eq!(expired, fault == "expired-token", "{fault}");
    }
}

#[tokio::test]
async fn discovery_leads_to_the_keys_that_verify_tokens() {
    let lab = Lab::start().await;
    let token = lab.bound_token(&lab.binding(), VAULT).await;
    let mut client = lab.connect(lab.sts, BOTH[0], None).await;
    let path = format!("/{}/v2.0/.well-known/openid-configuration", lab.tenant());
    let document = client.get(&path, "").await.unwrap().json();
    let jwt = UnverifiedJwt::parse(&token).unwrap();
    assert_eq!(document["issuer"], jwt.text("iss").unwrap());
    assert_eq!(document["tls_client_certificate_bound_access_tokens"], true);
    assert_eq!(
        document["mtls_endpoint_aliases"]["token_endpoint"],
        document["token_endpoint"]
    );
    let keys = document["jwks_uri"].as_str().unwrap();
    let path = keys.split_once(&lab.sts.to_string()).unwrap().1;
    let keys = client.get(path, "").await.unwrap().json();
    assert_eq!(keys["keys"][0]["kid"], jwt.header["kid"]);
    lab.fault("discovery=foreign-key*1");
    let foreign = client.get(path, "").await.unwrap().json();
    assert_ne!(foreign["keys"][0]["n"], keys["keys"][0]["n"]);
    let other = "/00000000-0000-0000-0000-000000000000/discovery/v2.0/keys";
    assert_eq!(code(&client.get(other, "").await.unwrap()), 90_002);
}

#[tokio::test]
async fn handshakes_fail_on_demand_and_then_succeed() {
    let lab = Lab::start().await;
    let binding = lab.binding();
    let options = ClientOptions::with(&binding);
    for version in BOTH {
        lab.fault("token-tls=reject-certificate:certificate_revoked*1");
        let refused = async {
            let mut client = Client::connect(lab.sts, version, &options).await?;
            client.get("/", "").await
        };
        let error = refused.await.unwrap_err();
        assert!(
            format!("{error:?}").contains("certificate revoked"),
            "{error:?}"
        );
        lab.fault("token-tls=server-certificate:untrusted*1");
        let client = lab.connect(lab.sts, version, Some(&binding)).await;
        let shown = client.stream.ssl().peer_certificate().unwrap();
        assert_ne!(
            shown.to_der().unwrap(),
            lab.state.pki.server().certificate.to_der().unwrap()
        );
    }
    lab.bound_token(&binding, VAULT).await;
}

/// The revoked certificate is refused again when it comes from a cache; another one of the same key is accepted.
#[tokio::test]
async fn a_revoked_certificate_is_refused_until_another_one_comes() {
    let lab = Lab::start().await;
    let (old, new) = (lab.binding(), lab.binding());
    let form = lab.form(VAULT);
    lab.fault("token=revoke-certificate:1000613*1");
    for _ in 0..3 {
        let refused = lab.post_form(Some(&old), &form).await;
        assert_eq!((refused.status, code(&refused)), (401, 1_000_613));
    }
    lab.bound_token(&new, VAULT).await;
    assert_eq!(code(&lab.post_form(Some(&old), &form).await), 1_000_613);
    assert_eq!(code(&lab.post_form(None, &form).await), 392_200);
    lab.state.reset();
    lab.bound_token(&old, VAULT).await;
    for (fault, words) in [
        ("revoke-certificate", "certificate revoked"),
        ("revoke-certificate:access_denied", "access denied"),
    ] {
        lab.fault(&format!("token-tls={fault}*1"));
        for version in BOTH {
            for certificate in [&old, &new, &old] {
                let options = ClientOptions::with(certificate);
                let response = async {
                    let mut client = Client::connect(lab.sts, version, &options).await?;
                    client.get("/", "").await
                };
                let shown = format!("{:?}", response.await);
                let is_refused = shown.contains(words);
                assert_eq!(is_refused, std::ptr::eq(certificate, &old), "{shown}");
            }
        }
        lab.state.reset();
    }
}

#[tokio::test]
async fn secrets_stay_out_of_the_records() {
    let lab = Lab::start().await;
    let token = lab.bound_token(&lab.binding(), VAULT).await;
    let records = format!("{:?}", lab.state.records.all());
    assert!(
        records.contains("mtls_pop") && records.contains(VAULT),
        "{records}"
    );
    let signature = token.rsplit('.').next().unwrap();
    assert!(!records.contains(signature), "{records}");
}
