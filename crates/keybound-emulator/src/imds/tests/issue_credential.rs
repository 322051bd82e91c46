use super::*;
use crate::config::BypassCache;
use crate::pki::read_token_not_after;

#[tokio::test]
async fn issues_a_certificate_that_the_client_accepts() {
    let state = state(Config::default());
    let key = &*KEY;
    let token = attested(&state, key).await;
    let response = imds(&state, issue_request(&csr(&state, key), Some(&token))).await;
    assert_eq!(response.status, 200, "{response:?}");
    let credential = IssuedCredential::parse(
        response.body.to_string().as_bytes(),
        key.public_key_der(),
        &ManagedIdentity::system_assigned(),
        &EndpointPolicy::new(true),
        state.clock.now(),
    )
    .unwrap();
    assert_eq!(credential.identity_type, "SystemAssigned");
    assert_eq!(
        *credential.endpoint.origin(),
        state.endpoints.0[&Service::Sts]
    );
    let certificate = &credential.certificate;
    assert_eq!(
        certificate.issuer(),
        "CN=managedidentitysnissuer.login.microsoft.com"
    );
    let life = certificate
        .not_after()
        .duration_since(certificate.not_before())
        .unwrap();
    assert_eq!(life, Duration::from_secs(7 * 24 * 3600 + 300));
    let checked = state
        .pki
        .check_client_certificate(certificate.der(), state.clock.now())
        .unwrap();
    assert_eq!(
        checked.client_id,
        state.config.identities[0].client_id.as_str()
    );
    assert_eq!(checked.tenant_id, state.config.tenant_id.as_str());
    let record = state.records.all().pop().unwrap();
    assert_eq!(record.notes["attested"], "true");
    assert_eq!(
        record.notes["certificate"],
        certificate.thumbprints().x5t_s256.as_str()
    );
}

#[tokio::test]
async fn caches_a_certificate_for_half_of_its_lifetime_unless_bypassed() {
    let state = state(optional());
    let (key, other) = (&*KEY, &*OTHER);
    let issue = async |key: &MemoryKey, token: Option<&str>, query: &str| {
        let uri = format!("{ISSUE_PATH}?cred-api-version=2.0{query}");
        certificate(&imds(&state, at(&uri, issue_request(&csr(&state, key), token))).await)
    };
    let first = issue(key, None, "").await;
    assert_eq!(issue(key, None, "").await, first);
    assert_eq!(issue(key, None, "&bypass_cache=false").await, first);
    assert_ne!(issue(other, None, "").await, first);
    let token = attested(&state, key).await;
    assert_ne!(
        issue(key, Some(&token), "").await,
        first,
        "attested and unattested certificates are cached separately"
    );
    let fresh = issue(key, None, "&bypass_cache=true").await;
    assert_ne!(fresh, first);
    assert_eq!(
        issue(key, None, "").await,
        fresh,
        "the new certificate replaces the old one"
    );
    state.clock.advance(3 * 24 * 3600);
    assert_eq!(issue(key, None, "").await, fresh);
    state.clock.advance(24 * 3600);
    assert_ne!(issue(key, None, "").await, fresh);
    // A certificate that is not valid yet is not returned either.
    state.clock.advance(-30 * 24 * 3600);
    let early = issue(key, None, "").await;
    assert!(early.not_after() < fresh.not_before());
}

fn at_bypass(request: Request<Bytes>) -> Request<Bytes> {
    at(
        &format!("{ISSUE_PATH}?cred-api-version=2.0&bypass_cache=true"),
        request,
    )
}

#[tokio::test]
async fn rejects_or_ignores_bypass_cache_as_configured() {
    let mut config = optional();
    config.imds.bypass_cache = BypassCache::Refused;
    let rejecting = state(config.clone());
    let request = |state: &Arc<State>| issue_request(&csr(state, &KEY), None);
    for value in ["true", "false", "perhaps"] {
        let uri = format!("{ISSUE_PATH}?cred-api-version=2.0&bypass_cache={value}");
        let response = imds(&rejecting, at(&uri, request(&rejecting))).await;
        let found = (
            response.status,
            response.text("error"),
            response.text("error_description"),
        );
        assert_eq!(
            found,
            (400, "invalid_request", "Unsupported query variables")
        );
    }
    assert_eq!(imds(&rejecting, request(&rejecting)).await.status, 200);
    config.imds.bypass_cache = BypassCache::Ignored;
    let ignoring = state(config);
    let first = certificate(&imds(&ignoring, request(&ignoring)).await);
    let again = imds(&ignoring, at_bypass(request(&ignoring))).await;
    assert_eq!(certificate(&again), first);
}

#[tokio::test]
async fn sets_token_not_after_as_configured() {
    let plain = state(optional());
    let issued = imds(&plain, issue_request(&csr(&plain, &KEY), None)).await;
    assert_eq!(read_token_not_after(certificate(&issued).der()), None);
    let mut config = optional();
    config.imds.certificate_lifetime_seconds = 14 * 24 * 3600;
    config.imds.token_not_after_seconds = Some(7 * 24 * 3600);
    let state = state(config);
    let request = || issue_request(&csr(&state, &KEY), None);
    let issued = certificate(&imds(&state, request()).await);
    let end = read_token_not_after(issued.der()).unwrap();
    let week = Duration::from_secs(7 * 24 * 3600);
    assert_eq!(issued.not_after().duration_since(end).unwrap(), week);
    // The cache uses NotAfter of the certificate, as IMDS does.
    let fault = "issue=certificate:past-token-not-after*1".parse().unwrap();
    state.faults.add(vec![fault]).unwrap();
    let old = certificate(&imds(&state, request()).await);
    assert!(read_token_not_after(old.der()).unwrap() < state.clock.now());
    assert!(old.not_after() > state.clock.now() + week);
    assert_eq!(certificate(&imds(&state, request()).await), old);
    let fresh = certificate(&imds(&state, at_bypass(request())).await);
    assert!(read_token_not_after(fresh.der()).unwrap() > state.clock.now());
    assert_eq!(certificate(&imds(&state, request()).await), fresh);
    let fault = "issue=certificate:unreadable-token-not-after*1"
        .parse()
        .unwrap();
    state.faults.add(vec![fault]).unwrap();
    let unreadable = certificate(&imds(&state, request()).await);
    assert_eq!(read_token_not_after(unreadable.der()), None);
    let text = openssl::x509::X509::from_der(unreadable.der())
        .unwrap()
        .to_text()
        .unwrap();
    assert!(
        String::from_utf8(text)
            .unwrap()
            .contains("1.3.6.1.4.1.311.90.2.1")
    );
}

#[tokio::test]
async fn issues_a_certificate_to_a_user_assigned_identity() {
    let state = state(optional());
    let key = &*KEY;
    let user = state.config.identities[1].client_id.clone();
    let uri = format!("{ISSUE_PATH}?cred-api-version=2.0&client_id={user}");
    let request = issue_request(&csr_for(&state, key, user.as_str()), None);
    let response = imds(&state, at(&uri, request)).await;
    assert_eq!(response.text("client_id"), user.as_str());
    assert_eq!(response.text("identity_type"), "UserAssigned");
    certificate(&response)
        .check_names(&user, &state.config.tenant_id)
        .unwrap();
    // The CSR of another identity is rejected.
    let response = imds(&state, at(&uri, issue_request(&csr(&state, key), None))).await;
    assert_eq!(
        response.text("error_description"),
        "CSR: CN of the subject is not the client id"
    );
}

#[tokio::test]
async fn rejects_malformed_bodies() {
    let state = state(optional());
    let valid = csr(&state, &OTHER);
    let with_body = |body: String| {
        let mut request = issue_request("", None);
        *request.body_mut() = body.into();
        request
    };
    let cases = [
        (
            with("content-type", "text/plain", issue_request(&valid, None)),
            415,
            "Content-Type",
        ),
        (
            without("content-type", issue_request(&valid, None)),
            415,
            "Content-Type",
        ),
        (with_body("<csr/>".into()), 400, "not JSON"),
        (with_body("{}".into()), 400, "with a csr"),
        (with_body(json!({"csr": 7}).to_string()), 400, "with a csr"),
        (with_body(" ".repeat(1024 * 1024 + 1)), 413, "1 MiB"),
        (issue_request("", None), 400, "CSR: not one DER SEQUENCE"),
        (issue_request("!", None), 400, "CSR: not one line of base64"),
        (
            issue_request(&format!("{valid}\n"), None),
            400,
            "CSR: not one line of base64",
        ),
        (
            issue_request(
                &format!("-----BEGIN CERTIFICATE REQUEST-----\n{valid}"),
                None,
            ),
            400,
            "without armour",
        ),
        (
            issue_request(&valid[..valid.len() - 8], None),
            400,
            "CSR: not one DER SEQUENCE",
        ),
    ];
    for (request, status, part) in cases {
        let response = imds(&state, request).await;
        assert_eq!(response.status, status, "{part}");
        assert!(
            response.text("error_description").contains(part),
            "{part}: {response:?}"
        );
    }
    let charset = with(
        "content-type",
        "Application/JSON;charset=UTF-8",
        issue_request(&valid, None),
    );
    assert_eq!(imds(&state, charset).await.status, 200);
}

#[tokio::test]
async fn rejects_missing_and_invalid_attestation_tokens() {
    let state = state(Config::default());
    let key = &*KEY;
    let csr = csr(&state, key);
    let problem = async |token: Option<&str>| {
        let response = imds(&state, issue_request(&csr, token)).await;
        assert_eq!(response.status, 400);
        response.text("error_description").to_owned()
    };
    assert_eq!(problem(None).await, "Attestation Token is missing");
    assert_eq!(problem(Some(" ")).await, "Attestation Token is missing");
    assert_eq!(
        problem(Some("nonsense")).await,
        "Attestation Token is not a JWT"
    );
    let other = attested(&state, &OTHER).await;
    assert_eq!(
        problem(Some(&other)).await,
        "Attestation Token is for another key than the CSR"
    );

    let valid = attested(&state, key).await;
    let claims = keybound_core::UnverifiedJwt::parse(&valid).unwrap().claims;
    let (maa, foreign) = (
        state.keys.maa.get().await.unwrap(),
        state.keys.foreign.get().await.unwrap(),
    );
    let changed = |member: &str, value: Value| {
        let mut claims = Value::Object(claims.clone());
        claims[member] = value;
        claims
    };
    let unsigned = valid.rsplit_once('.').unwrap().0.to_owned();
    for (token, part) in [
        (
            foreign.sign(&Value::Object(claims.clone())).unwrap(),
            "Attestation Token has an invalid signature",
        ),
        (
            format!("{unsigned}.AAAA"),
            "Attestation Token has an invalid signature",
        ),
        (
            maa.sign(&changed("iss", json!("https://other"))).unwrap(),
            "Attestation Token is from an untrusted issuer",
        ),
        (
            maa.sign(&changed("nbf", json!(state.clock.unix() + 60)))
                .unwrap(),
            "Attestation Token is not valid yet",
        ),
        (
            maa.sign(&changed("exp", json!(state.clock.unix())))
                .unwrap(),
            "Attestation Token has expired",
        ),
        (
            maa.sign(&changed("x-ms-attestation-type", json!("keyguard")))
                .unwrap(),
            "Attestation Token is not simulated",
        ),
        (
            maa.sign(&changed("x-ms-runtime", json!({}))).unwrap(),
            "Attestation Token lacks iss, nbf, exp or the key",
        ),
    ] {
        assert_eq!(problem(Some(&token)).await, part);
    }
    state.clock.advance(8 * 3600 + 1);
    assert_eq!(problem(Some(&valid)).await, "Attestation Token has expired");
    let shown = serde_json::to_string(&state.records.all()).unwrap();
    assert!(
        !shown.contains(&valid[..40]),
        "a record contains an attestation token"
    );
}

#[tokio::test]
async fn rejects_invalid_attestation_tokens_where_attestation_is_optional() {
    let state = state(optional());
    let key = &*KEY;
    let csr = csr(&state, key);
    assert_eq!(imds(&state, issue_request(&csr, None)).await.status, 200);
    assert_eq!(
        imds(&state, issue_request(&csr, Some(""))).await.status,
        200
    );
    let response = imds(&state, issue_request(&csr, Some("nonsense"))).await;
    assert_eq!(
        response.text("error_description"),
        "Attestation Token is not a JWT"
    );
}

#[tokio::test]
async fn returns_the_token_url_if_configured() {
    for (member, name) in [
        (TokenUrlMember::TokenEndpoint, "token_endpoint"),
        (TokenUrlMember::RegionalTokenUrl, "regional_token_url"),
    ] {
        let mut config = optional();
        config.imds.token_url = member;
        let state = state(config);
        let key = &*KEY;
        let response = imds(&state, issue_request(&csr(&state, key), None)).await;
        let tenant = state.config.tenant_id.as_str();
        let expected = format!("https://127.0.0.1:1002/{tenant}/oauth2/v2.0/token");
        assert_eq!(response.text(name), expected);
        let members = response.body.as_object().unwrap();
        assert_eq!(
            members.keys().filter(|name| name.contains("token")).count(),
            1
        );
    }
}

#[tokio::test]
async fn faults_change_certificates_and_endpoints() {
    let state = state(optional());
    let key = &*KEY;
    let csr = csr(&state, key);
    let parsed = async |fault: &str| {
        state
            .faults
            .add(vec![format!("issue={fault}*1").parse().unwrap()])
            .unwrap();
        let reply = handle(&state, Service::Imds, issue_request(&csr, None)).await;
        let Reply::Full(response) = reply else {
            panic!("{fault}: {reply:?}")
        };
        IssuedCredential::parse(
            response.body(),
            key.public_key_der(),
            &ManagedIdentity::system_assigned(),
            &EndpointPolicy::new(true),
            state.clock.now(),
        )
    };
    use keybound_core::ErrorKind as Kind;
    for (fault, kind) in [
        ("certificate:garbage", Kind::CertificateMalformed),
        ("certificate:other-key", Kind::CertificateKeyMismatch),
        ("certificate:expired", Kind::CertificateNotValid),
        ("certificate:not-yet-valid", Kind::CertificateNotValid),
        ("certificate:other-client", Kind::IdentityMismatch),
        ("certificate:other-tenant", Kind::IdentityMismatch),
        ("http-endpoint", Kind::EndpointNotAllowed),
        ("missing-field:certificate", Kind::InvalidResponse),
        ("set-field:tenant_id=7", Kind::InvalidResponse),
        ("garbage", Kind::InvalidResponse),
    ] {
        assert_eq!(parsed(fault).await.unwrap_err().kind(), kind, "{fault}");
    }
    let foreign = parsed("foreign-endpoint").await.unwrap();
    assert_eq!(
        foreign.endpoint.origin().as_str(),
        "https://foreign.invalid/"
    );
    assert_eq!(
        parsed("delay:1").await.unwrap().endpoint.origin(),
        &state.endpoints.0[&Service::Sts]
    );
}
