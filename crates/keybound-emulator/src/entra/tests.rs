use super::testing::{BOTH, FORM, TestServices};
use crate::config::{Config, Resource, TokenVersion};
use crate::server::testing::{Client, ClientOptions, Received, self_signed};
use keybound_core::{Guid, UnverifiedJwt, X5tS256};
use serde_json::json;

const VAULT: &str = "https://vault.azure.net";

fn code(response: &Received) -> u64 {
    response.json()["error_codes"][0]
        .as_u64()
        .unwrap_or_default()
}

#[tokio::test]
async fn binds_the_token_to_the_certificate_of_the_connection() {
    let services = TestServices::start().await;
    let binding = services.binding();
    for version in BOTH {
        let mut client = services
            .connect(services.sts, version, Some(&binding))
            .await;
        let path = format!("/{}/oauth2/v2.0/token", services.tenant().to_uppercase());
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(services.form(VAULT))
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
        assert!(services.state.keys.entra.verifies(token));
        let jwt = UnverifiedJwt::parse(token).unwrap();
        let thumbprint = X5tS256::of_der(&binding.certificate.to_der().unwrap());
        assert_eq!(jwt.confirmation(), Some(thumbprint.as_str()));
        for (claim, value) in [
            ("aud", VAULT),
            ("appid", services.client_id(0)),
            ("appidacr", "2"),
            ("ver", "1.0"),
            ("idtyp", "app"),
            ("tid", services.tenant()),
            (
                "oid",
                services.state.config.identities[0].object_id.as_str(),
            ),
            (
                "iss",
                &format!("https://{}/{}/", services.sts, services.tenant()),
            ),
        ] {
            assert_eq!(jwt.text(claim), Some(value), "{claim}");
        }
        let time = |name: &str| jwt.claims[name].as_u64().unwrap();
        assert_eq!(time("exp") - time("nbf"), 86399);
        assert!(time("iat") <= services.state.clock.unix());
        assert_eq!(jwt.claims["xms_tbflags"], 2);
        for absent in ["xms_mirid", "xms_cc", "roles", "azp", "azpacr"] {
            assert!(!jwt.claims.contains_key(absent), "{absent}");
        }
    }
}

#[tokio::test]
async fn registered_api_has_tokens_of_its_version_with_the_roles_of_the_client() {
    let mut config = Config::default();
    let orders = &config.resources[0];
    let api = orders.client_id.clone();
    let v1 = "5a5a5a5a-0000-4000-8000-0000000000c2";
    let v1 = Resource::new("api://bills", Guid::parse(v1).unwrap(), TokenVersion::V1);
    config.resources.push(v1.clone());
    let roles = vec!["Bills.Read".to_owned(), "Bills.Write".to_owned()];
    let assigned = &mut config.identities[0].roles;
    assigned.insert("API://bills/".into(), roles);
    let services = TestServices::with(config).await;
    let binding = services.binding();
    for (resource, version, audience) in [
        ("api://orders.contoso.com", 2, api.as_str()),
        ("api://Orders.contoso.com/", 2, api.as_str()),
        (api.as_str(), 2, api.as_str()),
        ("api://bills", 1, "api://bills"),
        (v1.client_id.as_str(), 1, v1.client_id.as_str()),
    ] {
        let token = services.bound_token(&binding, resource).await;
        let claims = UnverifiedJwt::parse(&token).unwrap().claims;
        let (client, other, iss, roles) = match version {
            2 => ("azp", "appid", "v2.0", json!(["Orders.Read.All"])),
            _ => ("appid", "azp", "", json!(["Bills.Read", "Bills.Write"])),
        };
        assert_eq!(claims["aud"], audience, "{resource}");
        assert_eq!(claims[client], services.client_id(0), "{resource}");
        assert!(!claims.contains_key(other), "{resource}");
        let issuer = format!("https://{}/{}/{iss}", services.sts, services.tenant());
        assert_eq!(claims["iss"], issuer, "{resource}");
        assert_eq!(claims["ver"], format!("{version}.0"), "{resource}");
        assert_eq!(claims["roles"], roles, "{resource}");
    }
    // Another identity has no roles.
    let user = services.binding_for(services.client_id(1), services.tenant(), (-60, 3600));
    let mut form = services.form("api://bills");
    form[0].1 = services.client_id(1).into();
    let response = services.post_form(Some(&user), &form).await;
    let jwt = UnverifiedJwt::parse(response.json()["access_token"].as_str().unwrap()).unwrap();
    assert!(!jwt.claims.contains_key("roles"));
}

#[tokio::test]
async fn issues_bearer_tokens_by_default_and_on_request() {
    let mut config = Config::default();
    config.entra.refresh_in_seconds = Some(43_000);
    let services = TestServices::with(config).await;
    for token_type in [None, Some("bearer")] {
        let mut form = services.form("https://management.azure.com");
        form.pop();
        form.extend(token_type.map(|word| ("token_type", word.to_owned())));
        let response = services.post_form(Some(&services.binding()), &form).await;
        assert_eq!(response.status, 200, "{token_type:?}: {}", response.text());
        let body = response.json();
        assert_eq!(
            (&body["token_type"], &body["refresh_in"]),
            (&json!("Bearer"), &json!(43_000)),
            "{token_type:?}"
        );
        let jwt = UnverifiedJwt::parse(body["access_token"].as_str().unwrap()).unwrap();
        for absent in ["cnf", "xms_tbflags"] {
            assert!(!jwt.claims.contains_key(absent), "{token_type:?}");
        }
    }
}

#[tokio::test]
async fn token_contains_resource_id_and_capabilities() {
    let services = TestServices::start().await;
    let binding = services.binding_for(services.client_id(1), services.tenant(), (-60, 3600));
    let mut form = services.form(VAULT);
    form[0].1 = services.client_id(1).to_uppercase();
    let claims =
        r#"{"access_token":{"xms_cc":{"values":["cp1"]},"nbf":{"essential":true,"value":"1"}}}"#;
    form.push(("claims", claims.into()));
    let response = services.post_form(Some(&binding), &form).await;
    let jwt = UnverifiedJwt::parse(response.json()["access_token"].as_str().unwrap()).unwrap();
    let identity = &services.state.config.identities[1];
    assert_eq!(jwt.text("xms_mirid"), identity.resource_id.as_deref());
    assert_eq!(jwt.claims["xms_cc"], json!(["cp1"]));
}

#[tokio::test]
async fn rejects_malformed_requests_with_aadsts_codes() {
    let services = TestServices::start().await;
    let binding = services.binding();
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
        ("client_assertion", Some("x"), 900_144, "invalid_request"),
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
        let mut form = services.form(VAULT);
        form.retain(|(known, _)| *known != name);
        form.extend(value.map(|value| (name, value.to_owned())));
        let response = services.post_form(Some(&binding), &form).await;
        assert_eq!(
            (response.status, code(&response)),
            (400, number),
            "{name} {value:?}"
        );
        assert_eq!(response.json()["error"], error, "{name} {value:?}");
    }
    let mut doubled = services.form(VAULT);
    doubled.extend(services.form("https://graph.microsoft.com"));
    assert_eq!(
        code(&services.post_form(Some(&binding), &doubled).await),
        9_000_411
    );
}

#[tokio::test]
async fn rejects_wrong_tenants_methods_and_content_types() {
    let services = TestServices::start().await;
    let mut client = services
        .connect(services.sts, BOTH[0], Some(&services.binding()))
        .await;
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
    let path = format!("/{}/oauth2/v2.0/token", services.tenant());
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
async fn accepts_only_valid_certificates_of_the_client() {
    let services = TestServices::start().await;
    let form = services.form(VAULT);
    let rejected = services.post_form(None, &form).await;
    assert_eq!((rejected.status, code(&rejected)), (401, 392_200));
    let (me, tenant) = (services.client_id(0), services.tenant());
    let other = "00000000-0000-0000-0000-000000000000";
    for (certificate, reason) in [
        (
            self_signed("managedidentitysnissuer.login.microsoft.com", 1),
            "was not found",
        ),
        (
            services.binding_for(services.client_id(1), tenant, (-60, 3600)),
            "another client",
        ),
        (
            services.binding_for(me, other, (-60, 3600)),
            "another tenant",
        ),
        (services.state.pki.server().clone(), "was not found"),
    ] {
        let rejected = services.post_form(Some(&certificate), &form).await;
        assert_eq!(
            (rejected.status, code(&rejected)),
            (401, 700_027),
            "{reason}"
        );
        assert_eq!(rejected.json()["error"], "invalid_client");
        assert!(rejected.text().contains(reason), "{}", rejected.text());
    }
}

#[tokio::test]
async fn certificates_expire_by_the_emulated_clock() {
    let services = TestServices::start().await;
    let (form, binding) = (services.form(VAULT), services.binding());
    for seconds in [3700, -3700] {
        services.state.clock.advance(seconds);
        let rejected = services.post_form(Some(&binding), &form).await;
        assert_eq!((rejected.status, code(&rejected)), (401, 1_000_502));
        assert_eq!(rejected.json()["error"], "invalid_client");
        services.state.clock.reset();
    }
    assert_eq!(services.post_form(Some(&binding), &form).await.status, 200);
}

/// Bound and bearer tokens are issued until `token_not_after`, and neither later.
#[tokio::test]
async fn issues_tokens_until_token_not_after() {
    let services = TestServices::start().await;
    let bound = services.form(VAULT);
    let mut bearer = services.form(VAULT);
    bearer.pop();
    let certificate = services.binding_with_token_not_after(3600);
    let token = services.bound_token(&certificate, VAULT).await;
    services.state.clock.advance(3601);
    for form in [&bound, &bearer] {
        let rejected = services.post_form(Some(&certificate), form).await;
        assert_eq!((rejected.status, code(&rejected)), (400, 1_000_901));
        assert_eq!(rejected.json()["error"], "invalid_request");
        assert!(rejected.text().contains("token_not_after"));
    }
    // Tokens issued before are valid until they expire.
    let mut client = services
        .connect(services.vault, BOTH[0], Some(&certificate))
        .await;
    let headers = format!("Authorization: mtls_pop {token}\r\nx-ms-tokenboundauth: true\r\n");
    let path = "/secrets/demo-secret?api-version=7.4";
    assert_eq!(client.get(path, &headers).await.unwrap().status, 200);
    services.state.clock.advance(-60);
    services.bound_token(&certificate, VAULT).await;
}

#[tokio::test]
async fn issues_only_bearer_tokens_where_bound_tokens_are_not_allowed() {
    let mut config = Config::default();
    config.entra.bound_tokens_allowed = false;
    let services = TestServices::with(config).await;
    let certificate = services.binding();
    for resource in [VAULT, "https://management.azure.com"] {
        let rejected = services
            .post_form(Some(&certificate), &services.form(resource))
            .await;
        assert_eq!((rejected.status, code(&rejected)), (400, 3_921_996));
        assert_eq!(rejected.json()["error"], "invalid_request");
        assert!(
            rejected
                .text()
                .contains("MtlsMsiTenantNotAllowedForBoundToken")
        );
    }
    services.bearer_token(&certificate, VAULT).await;
}

#[tokio::test]
async fn error_response_has_the_ids_of_the_request() {
    let services = TestServices::start().await;
    let mut client = services.connect(services.sts, BOTH[1], None).await;
    let id = "11111111-2222-3333-4444-555555555555";
    let path = format!("/{}/oauth2/v2.0/token", services.tenant());
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
    let record = services.state.records.all().pop().unwrap();
    let note = &record.notes["refused"];
    assert!(description.starts_with(note.as_str()), "{note}");
    assert!(note.len() > "AADSTS900144: ".len(), "{note}");
}

#[tokio::test]
async fn injects_aadsts_codes() {
    let services = TestServices::start().await;
    let (form, binding) = (services.form(VAULT), services.binding());
    for (number, status, error) in [
        (1_000_610, 401, "invalid_client"),
        (1_000_614, 401, "invalid_client"),
        (1_000_502, 401, "invalid_client"),
        (1_000_901, 400, "invalid_request"),
        (3_921_996, 400, "invalid_request"),
        (392_196, 400, "invalid_request"),
        (392_200, 401, "invalid_client"),
    ] {
        services.fault(&format!("token=aadsts:{number}*1"));
        let rejected = services.post_form(Some(&binding), &form).await;
        assert_eq!((rejected.status, code(&rejected)), (status, number));
        assert_eq!(rejected.json()["error"], error);
    }
    services.fault("token=invalid-client*1");
    let rejected = services.post_form(Some(&binding), &form).await;
    assert_eq!(
        (rejected.status, &rejected.json()["error"]),
        (401, &json!("invalid_client"))
    );
    assert!(rejected.json().get("error_codes").is_none());
    assert_eq!(services.post_form(Some(&binding), &form).await.status, 200);
}

#[tokio::test]
async fn faults_change_tokens() {
    let services = TestServices::start().await;
    let (form, binding) = (services.form(VAULT), services.binding());
    let thumbprint = X5tS256::of_der(&binding.certificate.to_der().unwrap());
    for fault in [
        "token-type:Bearer",
        "no-cnf",
        "other-cnf",
        "other-client",
        "garbage-token",
        "expired-token",
        "foreign-key",
        "other-tenant-key",
    ] {
        services.fault(&format!("token={fault}*1"));
        let response = services.post_form(Some(&binding), &form).await;
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
        let verifies = services.state.keys.entra.verifies(token);
        assert_eq!(!verifies, fault.ends_with("-key"), "{fault}");
        assert_eq!(jwt.confirmation().is_none(), fault == "no-cnf", "{fault}");
        let other = jwt
            .confirmation()
            .is_some_and(|claim| !thumbprint.matches(claim));
        assert_eq!(other, fault == "other-cnf", "{fault}");
        let client = jwt.text("appid") != Some(services.client_id(0));
        assert_eq!(client, fault == "other-client", "{fault}");
        let expired = jwt.claims["exp"].as_u64().unwrap() < services.state.clock.unix();
        assert_eq!(expired, fault == "expired-token", "{fault}");
    }
}

#[tokio::test]
async fn discovery_document_names_the_keys_of_tokens() {
    let services = TestServices::start().await;
    let token = services.bound_token(&services.binding(), VAULT).await;
    let mut client = services.connect(services.sts, BOTH[0], None).await;
    let path = format!(
        "/{}/v2.0/.well-known/openid-configuration",
        services.tenant()
    );
    let document = client.get(&path, "").await.unwrap().json();
    let jwt = UnverifiedJwt::parse(&token).unwrap();
    let issuer = document["issuer"].as_str().unwrap();
    assert_eq!(issuer.strip_suffix("v2.0"), jwt.text("iss"));
    assert_eq!(document["tls_client_certificate_bound_access_tokens"], true);
    assert_eq!(
        document["mtls_endpoint_aliases"]["token_endpoint"],
        document["token_endpoint"]
    );
    let keys = document["jwks_uri"].as_str().unwrap();
    let path = keys.split_once(&services.sts.to_string()).unwrap().1;
    let keys = client.get(path, "").await.unwrap().json();
    assert_eq!(keys["keys"][0]["kid"], jwt.header["kid"]);
    services.fault("keys=foreign-key*1");
    let foreign = client.get(path, "").await.unwrap().json();
    assert_ne!(foreign["keys"][0]["n"], keys["keys"][0]["n"]);
    assert_ne!(foreign["keys"][0]["kid"], keys["keys"][0]["kid"]);
    services.fault("keys=other-key*1");
    let other = client.get(path, "").await.unwrap().json();
    assert_ne!(other["keys"][0]["n"], keys["keys"][0]["n"]);
    assert_eq!(other["keys"][0]["kid"], keys["keys"][0]["kid"]);
    let other = "/00000000-0000-0000-0000-000000000000/discovery/v2.0/keys";
    assert_eq!(code(&client.get(other, "").await.unwrap()), 90_002);
}

/// The number of keys in each set, and the issuers of the first and the last one.
#[tokio::test]
async fn key_sets_name_the_issuers_of_keys_as_entra_does() {
    let services = TestServices::start().await;
    let home = services.tenant();
    let other = services.state.config.tenants[0].id.as_str();
    let mut client = services.connect(services.sts, BOTH[0], None).await;
    for (directory, version, count, issuer, last) in [
        (home, "v2.0/", 2, home, home),
        (other, "v2.0/", 3, other, other),
        ("common", "v2.0/", 3, "{tenantid}", other),
        (home, "", 2, "", ""),
        (other, "", 3, "", ""),
        ("common", "", 2, "", ""),
        ("Common", "", 2, "", ""),
    ] {
        let at = |path: &str| format!("/{directory}/{path}");
        let path = at(&format!("{version}.well-known/openid-configuration"));
        let document = client.get(&path, "").await.unwrap().json();
        let name = if directory.eq_ignore_ascii_case("common") {
            "{tenantid}"
        } else {
            directory
        };
        let iss = format!(
            "https://{}/{name}/{}",
            services.sts,
            version.trim_end_matches('/')
        );
        assert_eq!(document["issuer"], iss, "{path}");
        let keys = document["jwks_uri"].as_str().unwrap();
        let keys = keys.split_once(&services.sts.to_string()).unwrap().1;
        let path = at(&format!("discovery/{version}keys"));
        assert_eq!(keys.to_lowercase(), path.to_lowercase());
        let set = client.get(&path, "").await.unwrap().json();
        let keys = set["keys"].as_array().unwrap();
        assert_eq!(keys.len(), count, "{path}");
        let named = |tenant: &str| match tenant {
            "" => serde_json::Value::Null,
            tenant => json!(format!("https://{}/{tenant}/v2.0", services.sts)),
        };
        assert_eq!(keys[0]["issuer"], named(issuer), "{path}");
        assert_eq!(keys[count - 1]["issuer"], named(last), "{path}");
        assert!(
            keys.iter()
                .all(|key| key["use"] == "sig" && key.get("alg").is_none())
        );
    }
}

#[tokio::test]
async fn identities_are_known_in_the_tenant_of_the_host_only() {
    let services = TestServices::start().await;
    let [other] = &services.state.config.tenants[..] else {
        panic!("one further tenant was expected");
    };
    let binding = services.binding();
    let body = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(services.form(VAULT))
        .finish();
    let mut client = services
        .connect(services.sts, BOTH[0], Some(&binding))
        .await;
    let path = format!("/{}/oauth2/v2.0/token", other.id);
    let rejected = client.post(&path, FORM, body.as_bytes()).await.unwrap();
    assert_eq!(code(&rejected), 700_016);
}

#[tokio::test]
async fn handshake_faults_apply_once() {
    let services = TestServices::start().await;
    let binding = services.binding();
    let options = ClientOptions::with(&binding);
    for version in BOTH {
        services.fault("token-tls=reject-certificate:certificate_revoked*1");
        let rejected = async {
            let mut client = Client::connect(services.sts, version, &options).await?;
            client.get("/", "").await
        };
        let error = rejected.await.unwrap_err();
        assert!(
            format!("{error:?}").contains("certificate revoked"),
            "{error:?}"
        );
        services.fault("token-tls=server-certificate:untrusted*1");
        let client = services
            .connect(services.sts, version, Some(&binding))
            .await;
        let shown = client.stream.ssl().peer_certificate().unwrap();
        assert_ne!(
            shown.to_der().unwrap(),
            services.state.pki.server().certificate.to_der().unwrap()
        );
    }
    services.bound_token(&binding, VAULT).await;
}

/// The revoked certificate is rejected on each use; another one for the same identity is accepted.
#[tokio::test]
async fn rejects_a_revoked_certificate_and_accepts_another() {
    let services = TestServices::start().await;
    let (old, new) = (services.binding(), services.binding());
    let form = services.form(VAULT);
    services.fault("token=revoke-certificate:1000613*1");
    for _ in 0..3 {
        let rejected = services.post_form(Some(&old), &form).await;
        assert_eq!((rejected.status, code(&rejected)), (401, 1_000_613));
    }
    services.bound_token(&new, VAULT).await;
    assert_eq!(
        code(&services.post_form(Some(&old), &form).await),
        1_000_613
    );
    assert_eq!(code(&services.post_form(None, &form).await), 392_200);
    services.state.reset();
    services.bound_token(&old, VAULT).await;
    for (fault, part) in [
        ("revoke-certificate", "certificate revoked"),
        ("revoke-certificate:access_denied", "access denied"),
    ] {
        services.fault(&format!("token-tls={fault}*1"));
        for version in BOTH {
            for certificate in [&old, &new, &old] {
                let options = ClientOptions::with(certificate);
                let response = async {
                    let mut client = Client::connect(services.sts, version, &options).await?;
                    client.get("/", "").await
                };
                let shown = format!("{:?}", response.await);
                let is_refused = shown.contains(part);
                assert_eq!(is_refused, std::ptr::eq(certificate, &old), "{shown}");
            }
        }
        services.state.reset();
    }
}

#[tokio::test]
async fn records_contain_no_tokens() {
    let services = TestServices::start().await;
    let token = services.bound_token(&services.binding(), VAULT).await;
    let records = format!("{:?}", services.state.records.all());
    assert!(
        records.contains("mtls_pop") && records.contains(VAULT),
        "{records}"
    );
    let signature = token.rsplit('.').next().unwrap();
    assert!(!records.contains(signature), "{records}");
}
