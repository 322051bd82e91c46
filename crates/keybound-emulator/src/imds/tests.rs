use crate::config::{AttestationRule, Config, TokenUrlMember};
use crate::exchange::{self, Reply, Service};
use crate::faults::{ISSUE_PATH, METADATA_PATH};
use crate::state::{State, origin};
use crate::testing::{Answered, anonymous, ask, issue_request, metadata_request, state};
use bytes::Bytes;
use http::Request;
use keybound_core::csr::UnsignedCsr;
use keybound_core::{
    Certificate, CuId, EndpointPolicy, Guid, IssuedCredential, ManagedIdentity, PlatformMetadata,
};
use keybound_keys::memory::MemoryKey;
use keybound_keys::{BindingKey, SignatureScheme};
use serde_json::{Value, json};
use std::sync::LazyLock;
use std::time::Duration;

static KEY: LazyLock<MemoryKey> = LazyLock::new(|| MemoryKey::generate().unwrap());
static OTHER: LazyLock<MemoryKey> = LazyLock::new(|| MemoryKey::generate().unwrap());

async fn imds(state: &State, request: Request<Bytes>) -> Answered {
    ask(state, Service::Imds, request).await
}

/// A request with another URI.
fn at(uri: &str, mut request: Request<Bytes>) -> Request<Bytes> {
    *request.uri_mut() = uri.parse().unwrap();
    request
}

fn without(header: &str, mut request: Request<Bytes>) -> Request<Bytes> {
    request.headers_mut().remove(header).unwrap();
    request
}

fn with(header: &'static str, value: &str, mut request: Request<Bytes>) -> Request<Bytes> {
    request.headers_mut().insert(header, value.parse().unwrap());
    request
}

/// A signing request of the system-assigned identity, made by the client's code.
fn csr(state: &State, key: &MemoryKey) -> String {
    csr_for(state, key, state.config.identities[0].client_id.as_str())
}

fn csr_for(state: &State, key: &MemoryKey, client_id: &str) -> String {
    let imds = &state.config.imds;
    let cu_id = CuId::new(Some(imds.vm_id.clone()), imds.vmss_id.clone()).unwrap();
    let client_id = Guid::parse(client_id).unwrap();
    let csr = UnsignedCsr::new(
        &client_id,
        &state.config.tenant_id,
        &cu_id,
        key.public_key_der(),
    )
    .unwrap();
    let signature = key.sign(SignatureScheme::PssSha256, &csr.digest()).unwrap();
    csr.finish(&signature).unwrap().to_wire()
}

fn optional() -> Config {
    let mut config = Config::default();
    config.imds.attestation = AttestationRule::Optional;
    config
}

async fn attested(state: &State, key: &MemoryKey) -> String {
    let evidence = crate::evidence::make(key, origin(&state.endpoints.maa)).unwrap();
    let request = Request::post("/attest/keyguard")
        .body(json!({"evidence": evidence}).to_string().into())
        .unwrap();
    ask(state, Service::Maa, request)
        .await
        .text("token")
        .to_owned()
}

fn certificate(answered: &Answered) -> Certificate {
    use base64::Engine as _;
    let der = base64::engine::general_purpose::STANDARD.decode(answered.text("certificate"));
    Certificate::from_der(&der.unwrap()).unwrap()
}

#[tokio::test]
async fn metadata_is_told_and_the_client_can_read_it() {
    let state = state(Config::default());
    let answered = imds(&state, metadata_request()).await;
    assert_eq!(answered.status, 200);
    assert_eq!(answered.headers["server"], "IMDS/150.870.65.1854");
    let body = answered.body.to_string();
    let metadata = PlatformMetadata::parse(body.as_bytes(), &EndpointPolicy::new(true)).unwrap();
    assert_eq!(metadata.client_id, state.config.identities[0].client_id);
    assert_eq!(metadata.tenant_id, state.config.tenant_id);
    assert_eq!(metadata.attestation_endpoint, state.endpoints.maa);
}

#[tokio::test]
async fn a_probe_is_answered_in_the_words_of_imds() {
    let state = state(Config::default());
    let expected = json!({"error": "invalid_request", "error_description": "Required metadata header not specified"});
    for request in [
        without("metadata", metadata_request()),
        at(METADATA_PATH, without("metadata", metadata_request())),
        with("metadata", "false", metadata_request()),
    ] {
        let answered = imds(&state, request).await;
        assert_eq!((answered.status, &answered.body), (400, &expected));
    }
    let legs: Vec<_> = state
        .records
        .all()
        .iter()
        .map(|record| record.leg)
        .collect();
    assert_eq!(legs, ["probe", "probe", "metadata"]);
}

#[tokio::test]
async fn requests_that_imds_would_refuse_are_refused_with_their_reason() {
    let state = state(Config::default());
    let v2 = format!("{METADATA_PATH}?cred-api-version=2.0");
    let cases = [
        (
            without("x-ms-client-request-id", metadata_request()),
            400,
            "x-ms-client-request-id",
        ),
        (
            with("x-ms-client-request-id", " ", metadata_request()),
            400,
            "x-ms-client-request-id",
        ),
        (
            with("x-forwarded-for", "10.0.0.1", metadata_request()),
            400,
            "X-Forwarded-For",
        ),
        (
            at(METADATA_PATH, metadata_request()),
            400,
            "Required cred-api-version",
        ),
        (
            at(
                &format!("{METADATA_PATH}?cred-api-version=1.0"),
                metadata_request(),
            ),
            400,
            "Unsupported cred-api-version",
        ),
        (
            at(&format!("{v2}&cred-api-version=2.0"), metadata_request()),
            400,
            "twice",
        ),
        (
            at(
                &format!("{v2}&client_id=5a5a5a5a-0000-4000-8000-00000000ffff"),
                metadata_request(),
            ),
            400,
            "Identity not found",
        ),
        (
            at(
                &format!("{v2}&mi_res_id=%2Fsubscriptions%2Fnone"),
                metadata_request(),
            ),
            400,
            "Identity not found",
        ),
        (
            at(
                &format!("{v2}&msi_res_id=%2Fsubscriptions%2Fnone"),
                metadata_request(),
            ),
            400,
            "mi_res_id",
        ),
        (
            at(&format!("{v2}&client_id=a&object_id=b"), metadata_request()),
            400,
            "two ways",
        ),
        (
            at(&format!("{v2}&bypass_cache=perhaps"), metadata_request()),
            400,
            "bypass_cache",
        ),
        (
            at(
                "/metadata/identity/oauth2/token?api-version=2018-02-01",
                metadata_request(),
            ),
            404,
            "not found",
        ),
        (at("/", metadata_request()), 404, "not found"),
        (
            at(
                &format!("{ISSUE_PATH}?cred-api-version=2.0"),
                metadata_request(),
            ),
            405,
            "method",
        ),
        (at(&v2, issue_request("", None)), 405, "method"),
    ];
    for (request, status, words) in cases {
        let shown = format!("{request:?}");
        let answered = imds(&state, request).await;
        assert_eq!(answered.status, status, "{shown}");
        assert!(
            answered.text("error_description").contains(words),
            "{words}: {answered:?}"
        );
        assert_eq!(answered.headers["server"], super::SERVER);
    }
    let last = state.records.all().pop().unwrap();
    assert_eq!(last.status, Some(405));
    assert!(last.notes["refused"].contains("method"));
}

#[tokio::test]
async fn the_methods_allowed_are_named() {
    let state = state(Config::default());
    let uri = format!("{ISSUE_PATH}?cred-api-version=2.0");
    assert_eq!(
        imds(&state, at(&uri, metadata_request())).await.headers["allow"],
        "POST"
    );
    assert_eq!(
        imds(&state, at(METADATA_PATH, issue_request("", None)))
            .await
            .headers["allow"],
        "GET"
    );
}

#[tokio::test]
async fn every_selector_finds_its_identity() {
    let state = state(Config::default());
    let user = state.config.identities[1].clone();
    let resource_id = user.resource_id.clone().unwrap();
    for (name, id) in [
        ("client_id", user.client_id.as_str()),
        ("client_id", &user.client_id.as_str().to_ascii_uppercase()),
        ("object_id", user.object_id.as_str()),
        ("mi_res_id", &resource_id),
        ("mi_res_id", &resource_id.to_ascii_lowercase()),
    ] {
        let query: String = form_urlencoded::Serializer::new(String::new())
            .append_pair(name, id)
            .finish();
        let uri = format!("{METADATA_PATH}?cred-api-version=2.0&{query}");
        let answered = imds(&state, at(&uri, metadata_request())).await;
        assert_eq!(
            answered.text("clientId"),
            user.client_id.as_str(),
            "{name}={id}"
        );
    }
}

#[tokio::test]
async fn a_host_without_a_system_identity_has_none_to_tell() {
    let mut config = Config::default();
    config.identities.remove(0);
    let answered = imds(&state(config), metadata_request()).await;
    assert_eq!(
        (answered.status, answered.text("error_description")),
        (400, "Identity not found")
    );
}

#[tokio::test]
async fn an_attested_key_gets_a_certificate_that_the_client_accepts() {
    let state = state(Config::default());
    let key = &*KEY;
    let token = attested(&state, key).await;
    let answered = imds(&state, issue_request(&csr(&state, key), Some(&token))).await;
    assert_eq!(answered.status, 200, "{answered:?}");
    let credential = IssuedCredential::parse(
        answered.body.to_string().as_bytes(),
        key.public_key_der(),
        &ManagedIdentity::system_assigned(),
        &EndpointPolicy::new(true),
        state.clock.now(),
    )
    .unwrap();
    assert_eq!(credential.identity_type, "SystemAssigned");
    assert_eq!(*credential.endpoint.origin(), state.endpoints.sts);
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
    let ours = state
        .pki
        .check_client_certificate(certificate.der(), state.clock.now())
        .unwrap();
    assert_eq!(
        ours.client_id,
        state.config.identities[0].client_id.as_str()
    );
    assert_eq!(ours.tenant_id, state.config.tenant_id.as_str());
    let record = state.records.all().pop().unwrap();
    assert_eq!(record.notes["attested"], "true");
    assert_eq!(
        record.notes["certificate"],
        certificate.thumbprints().x5t_s256.as_str()
    );
}

#[tokio::test]
async fn a_certificate_is_given_out_again_until_it_is_bypassed_or_half_of_its_life_is_over() {
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
        "attested and not are two"
    );
    let fresh = issue(key, None, "&bypass_cache=true").await;
    assert_ne!(fresh, first);
    assert_eq!(
        issue(key, None, "").await,
        fresh,
        "the new one takes the place of the old"
    );
    state.clock.advance(3 * 24 * 3600);
    assert_eq!(issue(key, None, "").await, fresh);
    state.clock.advance(24 * 3600);
    assert_ne!(issue(key, None, "").await, fresh);
    // The other way round, what is not valid yet is not given out either.
    state.clock.advance(-30 * 24 * 3600);
    let early = issue(key, None, "").await;
    assert!(early.not_after() < fresh.not_before());
}

#[tokio::test]
async fn a_user_assigned_identity_gets_its_own_certificate() {
    let state = state(optional());
    let key = &*KEY;
    let user = state.config.identities[1].client_id.clone();
    let uri = format!("{ISSUE_PATH}?cred-api-version=2.0&client_id={user}");
    let request = issue_request(&csr_for(&state, key, user.as_str()), None);
    let answered = imds(&state, at(&uri, request)).await;
    assert_eq!(answered.text("client_id"), user.as_str());
    assert_eq!(answered.text("identity_type"), "UserAssigned");
    certificate(&answered)
        .check_names(&user, &state.config.tenant_id)
        .unwrap();
    // Another identity's request is refused.
    let answered = imds(&state, at(&uri, issue_request(&csr(&state, key), None))).await;
    assert_eq!(
        answered.text("error_description"),
        "CSR: CN of the subject is not the client id"
    );
}

#[tokio::test]
async fn bodies_that_are_no_request_are_refused() {
    let state = state(optional());
    let good = csr(&state, &OTHER);
    let with_body = |body: String| {
        let mut request = issue_request("", None);
        *request.body_mut() = body.into();
        request
    };
    let cases = [
        (
            with("content-type", "text/plain", issue_request(&good, None)),
            415,
            "Content-Type",
        ),
        (
            without("content-type", issue_request(&good, None)),
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
            issue_request(&format!("{good}\n"), None),
            400,
            "CSR: not one line of base64",
        ),
        (
            issue_request(
                &format!("-----BEGIN CERTIFICATE REQUEST-----\n{good}"),
                None,
            ),
            400,
            "without armour",
        ),
        (
            issue_request(&good[..good.len() - 8], None),
            400,
            "CSR: not one DER SEQUENCE",
        ),
    ];
    for (request, status, words) in cases {
        let answered = imds(&state, request).await;
        assert_eq!(answered.status, status, "{words}");
        assert!(
            answered.text("error_description").contains(words),
            "{words}: {answered:?}"
        );
    }
    let charset = with(
        "content-type",
        "Application/JSON;charset=UTF-8",
        issue_request(&good, None),
    );
    assert_eq!(imds(&state, charset).await.status, 200);
}

#[tokio::test]
async fn attestation_that_is_missing_or_bad_is_refused_with_its_reason() {
    let state = state(Config::default());
    let key = &*KEY;
    let csr = csr(&state, key);
    let refusal = async |token: Option<&str>| {
        let answered = imds(&state, issue_request(&csr, token)).await;
        assert_eq!(answered.status, 400);
        answered.text("error_description").to_owned()
    };
    assert_eq!(refusal(None).await, "Attestation Token is missing");
    assert_eq!(refusal(Some(" ")).await, "Attestation Token is missing");
    assert_eq!(
        refusal(Some("nonsense")).await,
        "Attestation Token is not a JWT"
    );
    let other = attested(&state, &OTHER).await;
    assert_eq!(
        refusal(Some(&other)).await,
        "Attestation Token is for another key than the CSR"
    );

    let good = attested(&state, key).await;
    let claims = keybound_core::UnverifiedJwt::parse(&good).unwrap().claims;
    let (maa, foreign) = (
        state.keys.maa.get().await.unwrap(),
        state.keys.foreign.get().await.unwrap(),
    );
    let changed = |member: &str, value: Value| {
        let mut claims = Value::Object(claims.clone());
        claims[member] = value;
        claims
    };
    let unsigned = good.rsplit_once('.').unwrap().0.to_owned();
    for (token, words) in [
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
            "Attestation Token is of an issuer that is not trusted",
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
            "Attestation Token is not of the simulated kind",
        ),
        (
            maa.sign(&changed("x-ms-runtime", json!({}))).unwrap(),
            "Attestation Token lacks iss, nbf, exp or the key",
        ),
    ] {
        assert_eq!(refusal(Some(&token)).await, words);
    }
    state.clock.advance(8 * 3600 + 1);
    assert_eq!(refusal(Some(&good)).await, "Attestation Token has expired");
    let shown = serde_json::to_string(&state.records.all()).unwrap();
    assert!(
        !shown.contains(&good[..40]),
        "a record holds an attestation token"
    );
}

#[tokio::test]
async fn attestation_that_is_optional_must_still_be_good() {
    let state = state(optional());
    let key = &*KEY;
    let csr = csr(&state, key);
    assert_eq!(imds(&state, issue_request(&csr, None)).await.status, 200);
    assert_eq!(
        imds(&state, issue_request(&csr, Some(""))).await.status,
        200
    );
    let answered = imds(&state, issue_request(&csr, Some("nonsense"))).await;
    assert_eq!(
        answered.text("error_description"),
        "Attestation Token is not a JWT"
    );
}

#[tokio::test]
async fn the_token_endpoint_is_named_outright_where_asked_for() {
    for (member, name) in [
        (TokenUrlMember::TokenEndpoint, "token_endpoint"),
        (TokenUrlMember::RegionalTokenUrl, "regional_token_url"),
    ] {
        let mut config = optional();
        config.imds.token_url = member;
        let state = state(config);
        let key = &*KEY;
        let answered = imds(&state, issue_request(&csr(&state, key), None)).await;
        let tenant = state.config.tenant_id.as_str();
        let expected = format!("https://127.0.0.1:1002/{tenant}/oauth2/v2.0/token");
        assert_eq!(answered.text(name), expected);
        let members = answered.body.as_object().unwrap();
        assert_eq!(
            members.keys().filter(|name| name.contains("token")).count(),
            1
        );
    }
}

#[tokio::test]
async fn faults_make_wrong_certificates_and_endpoints() {
    let state = state(optional());
    let key = &*KEY;
    let csr = csr(&state, key);
    let parsed = async |fault: &str| {
        state
            .faults
            .add(vec![format!("issue={fault}*1").parse().unwrap()])
            .unwrap();
        let reply = exchange::answer(
            &state,
            Service::Imds,
            anonymous(),
            issue_request(&csr, None),
        )
        .await;
        let Reply::Full(answer) = reply else {
            panic!("{fault}: {reply:?}")
        };
        IssuedCredential::parse(
            answer.body(),
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
        ("http-endpoint", Kind::EndpointRefused),
        ("missing-field:certificate", Kind::InvalidAnswer),
        ("set-field:tenant_id=7", Kind::InvalidAnswer),
        ("garbage", Kind::InvalidAnswer),
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
        &state.endpoints.sts
    );
}

#[tokio::test]
async fn faults_of_the_metadata_leg() {
    let state = state(Config::default());
    let next = async |fault: &str| {
        state
            .faults
            .add(vec![format!("metadata={fault}*1").parse().unwrap()])
            .unwrap();
        exchange::answer(&state, Service::Imds, anonymous(), metadata_request()).await
    };
    let Reply::Full(answer) = next("no-server-header").await else {
        panic!()
    };
    assert!(!answer.headers().contains_key("server"));
    let Reply::Full(answer) = next("server-header:nginx").await else {
        panic!()
    };
    assert_eq!(answer.headers()["server"], "nginx");
    let Reply::Full(answer) = next("status:404").await else {
        panic!()
    };
    assert_eq!(
        (
            answer.status().as_u16(),
            &answer.headers()["server"].to_str().unwrap()[..4]
        ),
        (404, "IMDS")
    );
    let Reply::Full(answer) = next("missing-field:cuId.vmId").await else {
        panic!()
    };
    let body: Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(body["cuId"], json!({}));
    let Reply::Full(answer) = next("http-endpoint").await else {
        panic!()
    };
    assert!(String::from_utf8_lossy(answer.body()).contains("http://127.0.0.1:1003"));
    let Reply::Full(answer) = next("redirect").await else {
        panic!()
    };
    assert_eq!(
        answer.headers()["location"],
        "http://127.0.0.1:1001/redirected"
    );
    let Reply::Full(answer) = next("html").await else {
        panic!()
    };
    assert_eq!(answer.headers()["server"], "captive-portal");
    assert!(matches!(
        next("oversized").await,
        Reply::Oversized(_, 67_108_864)
    ));
    assert!(matches!(next("truncated").await, Reply::Truncated(answer) if answer.status() == 200));
    assert!(matches!(next("hang").await, Reply::Hang));
    let record = state.records.all().pop().unwrap();
    assert_eq!(
        (record.fault.as_deref(), record.status),
        (Some("hang"), None)
    );
}
