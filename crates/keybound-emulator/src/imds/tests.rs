mod instance_metadata;
mod issue_credential;

use crate::config::{AttestationRule, Config, TokenUrlMember};
use crate::faults::{ISSUE_PATH, METADATA_PATH};
use crate::reply::Reply;
use crate::service::Service;
use crate::state::State;
use crate::testing::{JsonResponse, handle, issue_request, metadata_request, send, state};
use bytes::Bytes;
use http::Request;
use keybound_core::csr::UnsignedCsr;
use keybound_core::{
    Certificate, CuId, EndpointPolicy, Guid, IssuedCredential, ManagedIdentity, PlatformMetadata,
};
use keybound_keys::memory::MemoryKey;
use keybound_keys::{BindingKey, SignatureScheme};
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

static KEY: LazyLock<MemoryKey> = LazyLock::new(|| MemoryKey::generate().unwrap());
static OTHER: LazyLock<MemoryKey> = LazyLock::new(|| MemoryKey::generate().unwrap());

async fn imds(state: &Arc<State>, request: Request<Bytes>) -> JsonResponse {
    send(state, Service::Imds, request).await
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

/// A CSR of the system-assigned identity, created by the client's code.
fn csr(state: &Arc<State>, key: &MemoryKey) -> String {
    csr_for(state, key, state.config.identities[0].client_id.as_str())
}

fn csr_for(state: &Arc<State>, key: &MemoryKey, client_id: &str) -> String {
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

async fn attested(state: &Arc<State>, key: &MemoryKey) -> String {
    let evidence = crate::evidence::create(key, state.endpoints.origin(Service::Maa)).unwrap();
    let request = Request::post("/attest/keyguard")
        .body(json!({"evidence": evidence}).to_string().into())
        .unwrap();
    send(state, Service::Maa, request)
        .await
        .text("token")
        .to_owned()
}

fn certificate(response: &JsonResponse) -> Certificate {
    use base64::Engine as _;
    let der = base64::engine::general_purpose::STANDARD.decode(response.text("certificate"));
    Certificate::from_der(&der.unwrap()).unwrap()
}

#[tokio::test]
async fn client_parses_the_metadata() {
    let state = state(Config::default());
    let response = imds(&state, metadata_request()).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.headers["server"], "IMDS/150.870.65.1854");
    let body = response.body.to_string();
    let metadata = PlatformMetadata::parse(body.as_bytes(), &EndpointPolicy::new(true)).unwrap();
    assert_eq!(metadata.client_id, state.config.identities[0].client_id);
    assert_eq!(metadata.tenant_id, state.config.tenant_id);
    assert_eq!(
        metadata.attestation_endpoint,
        state.endpoints.0[&Service::Maa]
    );
}

#[tokio::test]
async fn responds_to_a_probe_as_imds_does() {
    let state = state(Config {
        clock_offset_seconds: 3600,
        ..Config::default()
    });
    let expected = json!({"error": "invalid_request", "error_description": "Required metadata header not specified"});
    for request in [
        without("metadata", metadata_request()),
        at(METADATA_PATH, without("metadata", metadata_request())),
        with("metadata", "false", metadata_request()),
    ] {
        let response = imds(&state, request).await;
        assert_eq!((response.status, &response.body), (400, &expected));
        let date = response.headers["date"].to_str().unwrap();
        let ahead = httpdate::parse_http_date(date).unwrap();
        let ahead = ahead.duration_since(crate::clock::host_now()).unwrap();
        assert!((3500..=3600).contains(&ahead.as_secs()), "{date}");
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
async fn rejects_invalid_requests_with_the_errors_of_imds() {
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
            "Managed Identity not found",
        ),
        (
            at(
                &format!("{v2}&mi_res_id=%2Fsubscriptions%2Fnone"),
                metadata_request(),
            ),
            400,
            "Managed Identity not found",
        ),
        (
            at(
                &format!("{v2}&msi_res_id=%2Fsubscriptions%2Fnone"),
                metadata_request(),
            ),
            400,
            "Unsupported query variables",
        ),
        (
            at(&format!("{v2}&clientid=a"), metadata_request()),
            400,
            "Unsupported query variables",
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
            400,
            "'resource' is missing",
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
    for (request, status, part) in cases {
        let shown = format!("{request:?}");
        let response = imds(&state, request).await;
        assert_eq!(response.status, status, "{shown}");
        assert!(
            response.text("error_description").contains(part),
            "{part}: {response:?}"
        );
        assert_eq!(response.headers["server"], super::SERVER);
    }
    let last = state.records.all().pop().unwrap();
    assert_eq!(last.status, Some(405));
    assert!(last.notes["refused"].contains("method"));
}

#[tokio::test]
async fn names_the_allowed_method() {
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
async fn selects_an_identity_by_each_selector() {
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
        let response = imds(&state, at(&uri, metadata_request())).await;
        assert_eq!(
            response.text("clientId"),
            user.client_id.as_str(),
            "{name}={id}"
        );
    }
}

#[tokio::test]
async fn reports_a_missing_system_assigned_identity() {
    let mut config = Config::default();
    config.identities.remove(0);
    let response = imds(&state(config), metadata_request()).await;
    assert_eq!(
        (
            response.status,
            response.text("error"),
            response.text("error_description")
        ),
        (400, "identity_not_found", "Managed Identity not found")
    );
}

#[tokio::test]
async fn faults_change_metadata_responses() {
    let state = state(Config::default());
    let next = async |fault: &str| {
        state
            .faults
            .add(vec![format!("metadata={fault}*1").parse().unwrap()])
            .unwrap();
        handle(&state, Service::Imds, metadata_request()).await
    };
    let Reply::Full(response) = next("no-server-header").await else {
        panic!()
    };
    assert!(!response.headers().contains_key("server"));
    let Reply::Full(response) = next("server-header:nginx").await else {
        panic!()
    };
    assert_eq!(response.headers()["server"], "nginx");
    let Reply::Full(response) = next("status:404").await else {
        panic!()
    };
    assert_eq!(
        (
            response.status().as_u16(),
            &response.headers()["server"].to_str().unwrap()[..4]
        ),
        (404, "IMDS")
    );
    let Reply::Full(response) = next("missing-field:cuId.vmId").await else {
        panic!()
    };
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(body["cuId"], json!({}));
    let Reply::Full(response) = next("http-endpoint").await else {
        panic!()
    };
    assert!(String::from_utf8_lossy(response.body()).contains("http://127.0.0.1:1003"));
    let Reply::Full(response) = next("redirect").await else {
        panic!()
    };
    assert_eq!(
        response.headers()["location"],
        "http://127.0.0.1:1001/redirected"
    );
    let Reply::Full(response) = next("html").await else {
        panic!()
    };
    assert_eq!(response.headers()["server"], "captive-portal");
    assert!(matches!(
        next("oversized").await,
        Reply::Oversized(_, 67_108_864)
    ));
    assert!(
        matches!(next("truncated").await, Reply::Truncated(response) if response.status() == 200)
    );
    assert!(matches!(next("hang").await, Reply::Hang));
    let record = state.records.all().pop().unwrap();
    assert_eq!(
        (record.fault.as_deref(), record.status),
        (Some("hang"), None)
    );
}
