//! Certificates of clients.
use super::*;

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
