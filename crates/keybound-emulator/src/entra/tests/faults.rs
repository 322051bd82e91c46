//! Injected faults.
use super::*;

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
