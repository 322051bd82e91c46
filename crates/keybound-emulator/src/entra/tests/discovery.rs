//! The documents from which verifiers learn keys.
use super::*;

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
