//! Issued tokens.
use super::*;

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
